#include "keep/terminal.h"

#include <fcntl.h>
#include <signal.h>

#include "core/mem.h"

bool terminal_is_there(void)
{
	cleanup_close int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	return fd >= 0;
}

bool terminal_ends_us(void)
{
	struct sigaction now;

	return sigaction(SIGHUP, NULL, &now) == 0 &&
	       now.sa_handler != SIG_IGN && terminal_is_there();
}
