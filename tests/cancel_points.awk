# Reads what objdump -dr prints of a library: see cancel_points.cmake.

# Functions of the C library and of libuv that are cancellation points, or call one.
BEGIN {
    split("accept accept4 close connect open open64 pause poll ppoll pread pread64 pwrite pselect pthread_cond_wait " \
          "pthread_cond_timedwait pthread_join pthread_testcancel read recv recvfrom recvmsg select sem_wait send sendmsg " \
          "sendto sleep usleep nanosleep clock_nanosleep system wait waitid waitpid write writev fopen fopen64 fclose fgets " \
          "fread fwrite fputs fputc putc fprintf __fprintf_chk vfprintf __vfprintf_chk fflush fflush_unlocked printf puts " \
          "getline opendir readdir readdir64 closedir dprintf epoll_wait posix_spawn dlopen " \
          "uv_cond_wait uv_cond_timedwait uv_sem_wait uv_barrier_wait uv_thread_join uv_sleep uv_run uv_loop_init " \
          "uv_loop_close uv_async_init uv_async_send uv_poll_init uv_dlopen uv_dlclose uv_fs_open uv_fs_close uv_fs_read " \
          "uv_fs_write uv_fs_rename uv_fs_unlink uv_fs_stat uv_fs_mkdir uv_get_total_memory uv_get_free_memory " \
          "uv_get_constrained_memory uv_available_parallelism uv_cpu_info", list, " ")
    for (i in list)
        point[list[i]]
    exempt["xf_main"] # it runs before the program has threads
}

# What the compiler has split off a function counts as the function.
function whole(name) {
    sub(/(\.(cold|part|constprop|isra)(\.[0-9]+)?)+$/, "", name)
    return name
}

function calls(name) {
    name = whole(name)
    if (name == "xf__os_cancel_hold")
        holds[object, here]
    else if (!((object, here, name) in known)) {
        known[object, here, name]
        callee[object, here, ++count[object, here]] = name
    }
}

/:     file format / { object = $1 }
/^[0-9a-f]+ <.*>:$/ {
    here = substr($2, 2, length($2) - 3)
    here = whole(here)
    place[object, here] = object
    owner[here] = object
}
/[ \t]R_[A-Z0-9_]+[ \t]/ { name = $3; sub(/[-+]0x[0-9a-f]+$/, "", name); calls(name) }
/^ .*<[^>]*>$/ { name = $NF; gsub(/^<|(\+0x[0-9a-f]+)?>$/, "", name); calls(name) }

# Looks through what a function of an object calls; path says how it was come to.
function look(in_object, name, path,    i, next_name, next_object) {
    if ((in_object, name) in seen || (in_object, name) in holds)
        return
    seen[in_object, name]
    for (i = 1; i <= count[in_object, name]; i++) {
        next_name = callee[in_object, name, i]
        if (next_name in point) {
            print path " > " next_name
            bad = 1
        }
        next_object = (in_object, next_name) in place ? in_object : owner[next_name]
        if (next_object != "")
            look(next_object, next_name, path " > " next_name)
    }
}

END {
    for (name in owner)
        if (name ~ /^xf_[a-z]/ && !(name in exempt)) {
            looked++
            look(owner[name], name, name)
        }
    if (looked < 150) {
        print "only " looked + 0 " functions were found"
        bad = 1
    }
    if (!bad)
        print looked " functions hold cancellation off"
    exit bad
}
