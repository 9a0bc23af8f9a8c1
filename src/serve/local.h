/* local.h: processes on this machine, started and watched through the keeper.
 */
#ifndef SERVE_LOCAL_H
#define SERVE_LOCAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "box/cgroup.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/list.h"
#include "core/str.h"
#include "loop/chan.h"
#include "loop/frame.h"

struct local;
struct process;

/* What is heard of a process. Every one may be NULL. */
struct process_ops {
	/* A line of its output, without the newline. */
	void (*on_line)(struct process *p, struct str line,
			struct str request_id);
	/* A frame on its control channel. */
	void (*on_frame)(struct process *p, const struct frame *f,
			 struct str payload);
	/* Its service is ready by sd_notify (READY=1). */
	void (*on_notify)(struct process *p);
	/* It is gone, or could not be started. cause: "exit code 3",
	 * "signal 9 (SIGKILL)", "out of memory", or the launcher's words with
	 * their remedy (`launched` false). All output has been heard before.
	 * process_close is the owner's to call now or later. */
	void (*on_exit)(struct process *p, const char *cause, bool launched);
};

/* What is to be started. Everything is borrowed for the call. */
struct process_spec {
	const char *name; /* unique among the living; [a-z0-9-] */
	const char *meta; /* comes back with an adopted process; JSON */
	char **argv;	  /* NULL-ended; argv[0] may be looked up in its PATH */
	char **env;	  /* NULL-ended "K=V" */
	const char *dir;  /* working directory */
	const char *home; /* HOME, or NULL */
	uid_t uid;	  /* 0: stay who we are */
	int64_t cpu_millis; /* 0: unsaid */
	int64_t weight;	    /* of its control group, as cpu_millis; 0: that */
	int64_t mem_limit;  /* bytes; 0: none */
	const char **need;  /* NULL-ended: what its user must be able to read */
	bool listen;	    /* inherits a listening Unix socket */
	bool control;	    /* inherits a control channel */
	const char *config; /* first frame on it, or NULL */
	bool notify;	    /* gets a NOTIFY_SOCKET */
	bool forks;	    /* a zygote */
	bool soon;	    /* of a fork: there is user code to run before it
			       is ready. Where that takes long it is moved to a
			       control group of its own meanwhile */
};

/* The cause of its end, where the kernel ended it for want of memory. */
#define PROCESS_RAN_OUT "out of memory"

enum process_state { PROCESS_STARTING, PROCESS_RUNNING, PROCESS_EXITED };

struct process {
	struct local *local;
	struct list link; /* private: in local->processes */
	uint64_t id;
	pid_t pid; /* 0 until it runs */
	enum process_state state;
	char *name;	    /* owned */
	char *meta;	    /* owned */
	char *socket;	    /* owned: path of its listening socket, or NULL */
	int64_t started_ms; /* uv_now */
	const struct process_ops *ops; /* borrowed */
	void *data;		       /* the owner's */

	/* private */
	uv_pipe_t log;
	bool log_open, log_paused;
	struct buf line;
	struct buf rest; /* read and not yet told */
	size_t rest_at;
	uv_timer_t later; /* goes on telling on another turn of the loop */
	bool later_open;
	struct chan control;
	bool control_open;
	int status_fd; /* read end of the launcher's report; -1 */
	int notify_fd;
	uid_t uid; /* whose word counts on it */
	uv_poll_t notify;
	bool notify_open;
	bool warm;   /* private: process_keep_warm has said so */
	char *cause; /* owned; set once it is dead, until all output is heard */
	uint64_t peak; /* it ran out of memory: what its group had at most; 0:
			  not known */
	bool launched;
	bool left;	  /* nobody here wants it (left.c) */
	unsigned held;	  /* of one that is left: requests that daemons which
			     have yielded still have there */
	uint64_t kill_at; /* of one that is left: uv_now; 0: never */
	bool closing;
	bool forgotten;
	unsigned handles; /* open libuv handles */

	/* One that a zygote forks (birth.c). */
	char *zygote;	/* owned: the zygote's name; NULL: it was spawned */
	bool unborn;	/* it is not known to be there, or was killed before it
			   said a word; if it ends so, another way to start it
			   may do */
	bool forked;	/* private: its zygote says so */
	bool heard;	/* private: it has said something */
	pid_t said;	/* private: who it is by its own word; 0: none yet */
	bool killed;	/* private: we did */
	int first_sign; /* signal to send when it is born; 0: none */
	char *config;	/* owned: CONFIG, until it is to begin; or NULL */
	int handle;	/* owned: its pidfd, until it is weaned; -1 */
	bool soon;	/* as in its spec, until it is ready */
	bool weaning;	/* it is being moved to a group of its own */
	bool stays;	/* it cannot be moved */
	struct list newborn_link;
	struct cgroup_limits limits; /* of its group */
	int64_t weight; /* as limits.cpu_millis, where it is known to be set */
	bool brisk, paced; /* private: what process_pace said; it ever did */
	/* Of a zygote: forks that are asked for and not answered; since when
	 * it is silent. */
	unsigned forks;
	uint64_t forks_since;
};

struct local {
	uv_loop_t *loop;
	const char *data_dir; /* borrowed */
	char *self;	      /* owned: this program */
	pid_t keeper;	      /* the parent of all */
	struct chan chan;
	struct list processes;
	uint64_t next_id;
	int socket_dir; /* fd of DATA/run/s */
	char *blocked;	/* owned: ancestor of data_dir that replicas can't pass,
			   or NULL */
	bool root;	/* replicas get users of their own */
	struct cgroups groups;
	char instance[CGROUP_INSTANCE_MAX];
	struct list
		endings; /* private: groups of the dead, still to be removed */
	struct list newborn; /* private: processes in their zygote's group */
	bool adopting;	     /* not all is told that is there from before */
	bool yielded; /* another daemon has the children: nothing is said to the
			 keeper but HOLDS */

	/* The owner's. */
	void *data;
	void (*on_listener)(struct local *l, int which,
			    int fd); /* fd is the callee's */
	/* A child from before. Return true to own it: set p->ops and p->data.
	 * Else it is killed. */
	bool (*on_adopt)(struct local *l, struct process *p, const char *meta);
	void (*on_adopted_all)(struct local *l);
	void (*on_stop)(struct local *l);
	void (*on_reload)(struct local *l);
	void (*on_yield)(struct local *l); /* see local_yielded */
	/* What became of an upgrade that this daemon asked for: text is the new
	 * one's version, or why there is none. */
	void (*on_upgraded)(struct local *l, bool done, struct str text);
	/* Earlier daemons still have n requests at p, of which so many hold a
	 * place. */
	void (*on_held)(struct local *l, struct process *p, unsigned n,
			unsigned placed);
	void (*on_keeper_lost)(struct local *l);
};

/* Says HELLO; listeners and children follow through the callbacks, which are
 * set before. keeper_fd belongs to it from now on. */
int local_open(struct local *l, uv_loop_t *loop, const char *data_dir,
	       int keeper_fd, struct err *err);
void local_serving(struct local *l);
/* Asks for an upgrade, to the program there; "": where Soma's is.
 * on_upgraded tells. */
void local_upgrade(struct local *l, const char *program);
/* No child is listened to any more, and none is touched. */
void local_leave(struct local *l);
/* The answer to on_yield: NULL, all is the keeper's; or why not now. */
void local_yielded(struct local *l, const char *why_not);
/* After that: requests that are still at p, and hold a place. */
void local_holds(struct local *l, const struct process *p, unsigned n,
		 unsigned placed);
/* Tells the keeper which settings are in force: settings_dump. */
void local_settings(struct local *l, const char *dump, size_t len);
/* All processes must be closed. */
void local_close(struct local *l);
/* Now and then: removes what could not be removed at once. */
void local_tick(struct local *l);
/* Whether a tick has anything to do soon. */
bool local_is_busy(const struct local *l);
/* The keeper is gone: kills all there is, at once, and removes its control
 * groups. Blocks, at most two seconds. */
void local_kill_all(struct local *l);

/* Starts. On success the outcome arrives through ops->on_exit at the latest;
 * on error nothing was started. ops outlive the process. */
int process_start(struct process **ret, struct local *l,
		  const struct process_spec *spec,
		  const struct process_ops *ops, void *data, struct err *err);
/* The same by a fork of a running zygote, which must have been started with the
 * same user, directory and program. Of the spec only name, meta, uid, limits
 * config and `soon` count; it has a socket and a control channel. If the
 * zygote ends or cannot fork, on_exit comes with `unborn` set. */
int process_fork(struct process **ret, struct process *zygote,
		 const struct process_spec *spec, const struct process_ops *ops,
		 void *data, struct err *err);
/* Its owner has no more use for it, and hears no more of it: it is killed. */
void process_abandon(struct process *p);
/* Whether one that was abandoned has requests still, of a daemon that has
 * yielded; from now on it has a minute for them. */
bool local_has_left(struct local *l);
/* To its whole process group. Nothing happens when it is dead. */
void process_signal(struct process *p, int signum);
/* SIGCONT to the same, by the daemon itself where it may: sooner than by the
 * keeper, and before what the keeper was told and has not done. */
void process_run_on(struct process *p);
void process_send(struct process *p, enum frame_type type, uint32_t arg,
		  const char *payload);
/* It has answered its warm-up requests: the next daemon knows that, too. */
void process_keep_warm(struct process *p);
bool process_is_warm(const struct process *p);
/* What it may claim of the processors beside others, in thousandths of one. */
void process_weigh(struct process *p, int64_t cpu_millis);
/* Whether its predicts push others off a processor (box/pace.h). */
void process_pace(struct process *p, bool brisk);
/* Stops hearing its output until resumed: its pipe fills, it blocks. */
void process_pause_log(struct process *p, bool paused);
/* Frees a process that has exited. No callback comes after. */
void process_close(struct process *p);

/* Path for connecting to a process' socket; mem_printf'ed. */
char *local_socket_path(struct local *l, const char *name);

#endif
