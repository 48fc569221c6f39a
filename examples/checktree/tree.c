#include "tree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

/* Directories that are still to be listed.  They are not opened inside each other: a deep tree costs no descriptors. */
typedef struct pending {
    struct pending *next;
    char *path;
} pending;

static char *join(const char *directory, const char *name)
{
    size_t head = strlen(directory), tail = strlen(name);
    size_t slash = head > 0 && directory[head - 1] == '/' ? 0 : 1;
    char *path = malloc(head + slash + tail + 1);

    if (!path)
        return NULL;
    memcpy(path, directory, head);
    path[head] = '/'; /* overwritten when there is one already */
    memcpy(path + head + slash, name, tail + 1);
    return path;
}

/* Takes the path over, also when it fails. */
static int add_file(tree *tree, char *path, uint64_t size, int error)
{
    if (tree->count == tree->room) {
        size_t room = tree->room ? tree->room * 2 : 1024;
        file *files = realloc(tree->files, room * sizeof *files);
        if (!files) {
            free(path);
            return UV_ENOMEM;
        }
        tree->files = files;
        tree->room = room;
    }
    tree->files[tree->count++] = (file){.path = path, .size = size, .error = error};
    return 0;
}

/* Takes the path over, also when it fails. */
static int push(pending **stack, char *path)
{
    pending *directory = malloc(sizeof *directory);

    if (!directory) {
        free(path);
        return UV_ENOMEM;
    }
    *directory = (pending){*stack, path};
    *stack = directory;
    return 0;
}

static char *pop(pending **stack)
{
    pending *directory = *stack;
    char *path = directory->path;

    *stack = directory->next;
    free(directory);
    return path;
}

static int add_entry(tree *tree, pending **stack, const char *directory, const char *name)
{
    char *path = join(directory, name);
    uv_fs_t request;
    int rc;

    if (!path)
        return UV_ENOMEM;
    rc = uv_fs_lstat(NULL, &request, path, NULL);
    if (rc == 0 && S_ISDIR(request.statbuf.st_mode))
        rc = push(stack, path);
    else if (rc == 0 && !S_ISREG(request.statbuf.st_mode))
        free(path);
    else
        rc = add_file(tree, path, rc == 0 ? request.statbuf.st_size : 0, rc);
    uv_fs_req_cleanup(&request);
    return rc;
}

/* Returns 0, UV_ENOMEM, or why the directory cannot be listed. */
static int list_directory(tree *tree, pending **stack, const char *path)
{
    uv_fs_t request;
    uv_dirent_t entry;
    int rc = uv_fs_scandir(NULL, &request, path, 0, NULL);

    if (rc > 0)
        rc = 0;
    while (rc == 0 && uv_fs_scandir_next(&request, &entry) == 0)
        rc = add_entry(tree, stack, path, entry.name);
    uv_fs_req_cleanup(&request);
    return rc;
}

/* Lists the directories below the first one; those that cannot be listed become files with an error. */
static int list_pending(tree *tree, pending **stack)
{
    int rc = 0;

    while (rc == 0 && *stack) {
        char *path = pop(stack);
        rc = list_directory(tree, stack, path);
        if (rc < 0 && rc != UV_ENOMEM)
            rc = add_file(tree, path, 0, rc);
        else
            free(path);
    }
    return rc;
}

static int compare_paths(const void *left, const void *right)
{
    return strcmp(((const file *)left)->path, ((const file *)right)->path);
}

int tree_list(tree *tree, const char *directory)
{
    pending *stack = NULL;
    int rc;

    memset(tree, 0, sizeof *tree);
    rc = list_directory(tree, &stack, directory);
    if (rc == 0)
        rc = list_pending(tree, &stack);
    while (stack)
        free(pop(&stack));
    if (rc < 0)
        tree_free(tree);
    else if (tree->count > 0)
        qsort(tree->files, tree->count, sizeof *tree->files, compare_paths);
    return rc;
}

bool file_failed(const file *file)
{
    return file->error != 0 || file->end.kind != XF_END_NONE;
}

void tree_free(tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        free(tree->files[i].path);
    free(tree->files);
    memset(tree, 0, sizeof *tree);
}
