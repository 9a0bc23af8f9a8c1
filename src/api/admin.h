/* admin.h: the admin API (docs/internals/admin-api.md): who may call, and which
 * resource answers. */
#ifndef API_ADMIN_H
#define API_ADMIN_H

#include "http/server.h"
#include "serve/serve.h"

struct admin {
	struct serve *serve; /* borrowed */
	char *token;	     /* owned */
	char *listen;	     /* owned: "127.0.0.1:8002" */
	char *url;	     /* owned: "http://127.0.0.1:8002" */
	int keeper_pid;
	uint64_t started_ms;		/* uv_now */
	struct http_server *data_plane; /* borrowed: for its counters */
	uint64_t loop_lag_us;		/* of the last second */
	/* Answers req when it is known how it went. program: "" for where
	 * Soma's own is. */
	void (*upgrade)(struct http_req *req, const char *program);
};

/* http_on_request; data is the struct admin. */
void admin_on_request(struct http_req *req, void *data);

/* The struct admin of a request in a resource. */
struct admin *admin_of(const struct http_req *req);
/* Answers an error with its text. */
void admin_error(struct http_req *req, const struct err *err);
/* The api named, or NULL after a 404 that names a near one. */
struct api *admin_api(struct http_req *req, const char *name);

/* Resources: one file each. arg: what the '*' of the path stood for. */
typedef void admin_handler(struct http_req *req, const char *arg);
admin_handler admin_plan, admin_deploy, admin_patch; /* deploy.c */
admin_handler admin_put_blob;			     /* blobs.c */
admin_handler admin_list_apis, admin_get_api, admin_delete_api,
	admin_refresh_api, admin_roll_back_api, admin_history; /* apis.c */
admin_handler admin_promote_api;			       /* promote.c */
admin_handler admin_scale_api, admin_explain_api;	       /* scale.c */
admin_handler admin_events, admin_logs;			       /* feeds.c */
admin_handler admin_models, admin_models_df;		       /* models.c */
admin_handler admin_models_pull, admin_models_verify, admin_models_remove,
	admin_models_gc; /* models_change.c */
admin_handler admin_list_secrets, admin_put_secret,
	admin_delete_secret;		 /* secrets.c */
admin_handler admin_info, admin_metrics; /* info.c, metrics.c */
admin_handler admin_upgrade;		 /* upgrade.c */

#endif
