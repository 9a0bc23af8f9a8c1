/* Signals of a crash while an engine is opened and loads its model. Such a
 * process would only be started again, to crash again: the daemon is told why,
 * at once. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "core/json.h"
#include "core/mem.h"
#include "host/host.h"

enum { STACK = 64 << 10 };

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
static struct sigaction before[ARRAY_LEN(signals)];
static stack_t stack_before; /* of the thread that loads */

/* Made beforehand: a handler may do little. The digits of the signal are put in
 * where it says 00. */
static struct {
	int fd;
	struct frame head;
	char text[1024];
	size_t len;
	char *digits;
} last_words;

static void on_crash(int number)
{
	struct iovec iov[2] = {{&last_words.head, sizeof last_words.head},
			       {last_words.text, last_words.len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	last_words.digits[0] = (char)('0' + number / 10);
	last_words.digits[1] = (char)('0' + number % 10);
	sendmsg(last_words.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	signal(number, SIG_DFL);
	raise(number);
}

void crash_watch(int control_fd, const char *engine)
{
	static char stack[STACK]; /* it may be the stack that ran out */
	stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {
		.sa_handler = on_crash,
		.sa_flags = (int)(SA_ONSTACK | SA_RESETHAND | SA_NODEFER)};
	struct buf b;

	last_words.fd = control_fd;
	last_words.head =
		(struct frame){.type = FRAME_FAILED, .version = FRAME_VERSION};
	buf_init(&b, sizeof last_words.text);
	buf_adds(&b,
		 "{\"code\":\"init_error\",\"message\":\"the engine crashed "
		 "while it loaded (signal 00): ");
	last_words.digits = last_words.text + b.len - strlen("00): ");
	for (const char *p = engine; *p && b.len < sizeof last_words.text / 2;
	     p++)
		buf_addc(&b, *p == '"' || *p == '\\' || *p < ' ' ? '?' : *p);
	buf_adds(&b, "\",\"remedy\":\"its last lines may say why; 'gdb' on a "
		     "core dump shows the place\"}");
	last_words.len = b.len;
	memcpy(last_words.text, b.data, b.len);
	buf_fini(&b);
	sigaltstack(&alternative, &stack_before);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &action, &before[i]);
}

void crash_forget(void)
{
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &before[i], NULL);
	sigaltstack(&stack_before, NULL);
}
