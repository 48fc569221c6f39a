/* The server.  Windows cannot fork, so there is none, and OS_SERVER means OS_SPAWN. */
#include "os_private.h"

int os_server_open(os_server **out)
{
    *out = NULL;
    return 0;
}

bool os_server_is_current(const os_server *server)
{
    (void)server;
    return true;
}

void os_server_close(os_server *server)
{
    (void)server;
}
