/* fail.h: why the program could not be started, as the status pipe says it. */
#ifndef BOX_FAIL_H
#define BOX_FAIL_H

struct fail {
	const char *step; /* static text */
	int sys;	  /* errno, or 0 */
	int exit_code;
	char message[1536];
	char remedy[1024];
};

/* Each returns -1, so that a step can end in `return fail_set(...)`. */
int fail_set(struct fail *f, const char *step, int sys, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* As fail_set, with ": " and the text of errno `sys` behind. */
int fail_sys(struct fail *f, const char *step, int sys, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int fail_remedy(struct fail *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* One JSON line to the pipe `fd`, or words to standard error when fd is -1:
 * a person typed the command. */
void fail_tell(const struct fail *f, int fd);

#endif
