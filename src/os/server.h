/* THE SEAM: the server of OS_SERVER, a process that forks children on request.  Core port; rules: traits.h. */
#ifndef OS_SERVER_H
#define OS_SERVER_H

#include "os/child.h"

/* Starts the server.  It is executed anew, so it is small and has one thread, whatever this process is.  It ends with
 * this process.
 * Windows, and any system where os.has_server is false: there is nothing to start, and OS_SERVER means OS_SPAWN. */
int os_server_open(os_server **server);

/* Ends the server, whatever it is doing; the children that it has made do not need it any more.  NULL is harmless. */
void os_server_close(os_server *server);

#endif
