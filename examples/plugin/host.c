/* A program whose tasks come from a plug-in that it knows nothing about when it is built.
 * The plug-in is loaded before xf_main.  A child that is executed anew comes the same way and loads it too, so it finds
 * the same tasks under the same names, wherever they lie in its memory. */
#include <crossfork.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* Loads the plug-in that lies next to the program.  A child has the same program but neither its arguments nor its
 * directory, so the plug-in's path depends on neither of them.
 * Loading registers its tasks.  It stays loaded as long as the process runs. */
static int load_plugin(uv_lib_t *library)
{
    char path[4096];
    size_t size = sizeof path, directory;

    if (uv_exepath(path, &size) < 0)
        return -1;
    for (directory = size; directory > 0 && !strchr("/\\", path[directory - 1]); directory--)
        ;
    if (directory + sizeof PLUGIN > sizeof path)
        return -1;
    memcpy(path + directory, PLUGIN, sizeof PLUGIN);
    return uv_dlopen(path, library);
}

static int run(xf_pool *pool, const char *name, const double *in)
{
    xf_task *task = xf_task_find(name);
    double out;
    int rc;

    if (!task || task->input_size != 2 * sizeof *in || task->output_size != sizeof out) {
        printf("%s: no plug-in has it\n", name);
        return 0;
    }
    rc = xf_pool_map(pool, &(xf_map){.task = task, .in = in, .out = &out, .count = 1});
    if (rc == 0)
        printf("%s of %g and %g: %g\n", name, in[0], in[1], out);
    return rc;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"rectangle", "ellipse", "dodecahedron"};
    const double in[] = {3, 4};
    uv_lib_t library = {0};
    xf_pool *pool = NULL;
    int rc;

    if (load_plugin(&library) < 0) {
        fprintf(stderr, "host: no plug-in: %s\n", uv_dlerror(&library));
        return 1;
    }
    xf_main(argc, argv);
    rc = xf_pool_create(&pool, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == 0; i++)
        rc = run(pool, names[i], in);
    if (rc < 0)
        fprintf(stderr, "host: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    return rc < 0;
}
