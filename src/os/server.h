/* THE SEAM: the server of OS_SERVER, a process that forks children on request.  Core port; rules: traits.h. */
#ifndef OS_SERVER_H
#define OS_SERVER_H

#include "os/child.h"

/* Starts the server.  It is executed anew, so it is small and has one thread, whatever this process is.  It ends with
 * this process.
 * Windows, and any system where os.has_server is false: there is nothing to start, and OS_SERVER means OS_SPAWN. */
int os_server_open(os_server **server);

/* Whether children of the server would have the rights and surroundings that children have that this process starts by
 * itself now: user and groups, capabilities, filters of system calls, root directory, namespaces, file mode mask,
 * limits, priority, processors.  False also when this cannot be found out any more.
 * Windows: true. */
bool os_server_is_current(const os_server *server);

/* Asks the server for nothing more.  It makes the children that it has been asked for, and ends; the children do not
 * need it any more.  Where all of its children have been closed (os_child_close), and when the last of them is, it is
 * ended whatever it is doing.  NULL is harmless. */
void os_server_close(os_server *server);

#endif
