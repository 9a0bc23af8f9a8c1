/* notify.h: tells a service manager (systemd) how we are, by sd_notify's
 * protocol. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* "READY=1", "STOPPING=1"; does nothing without NOTIFY_SOCKET. */
void notify_say(const char *state);

#endif
