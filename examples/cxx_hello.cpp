// Squares numbers in child processes, in C++: tasks are plain functions, and options are structs as in C.
#include <crossfork.h>

#include <cstdio>
#include <memory>
#include <vector>

struct item {
    int base;
    int exponent;
};

XF_TASK(power, const item *in, long long *out)
{
    if (in->exponent < 0)
        return xf_fail(call, 1, "exponent %d is negative", in->exponent);
    *out = 1;
    for (int i = 0; i < in->exponent; i++)
        *out *= in->base;
    return 0;
}

// Frees itself, however the scope is left.
using pool_owner = std::unique_ptr<xf_pool, decltype(&xf_pool_free)>;

static pool_owner open_pool()
{
    xf_pool *pool = nullptr;

    if (xf_pool_create(&pool, nullptr) < 0)
        std::fprintf(stderr, "cxx_hello: %s\n", xf_error_detail());
    return pool_owner(pool, xf_pool_free);
}

int main(int argc, char **argv)
{
    xf_main(argc, argv);

    pool_owner pool = open_pool();
    std::vector<item> in;
    for (int i = 0; i < 5; i++)
        in.push_back({3, 4 * i});
    in.push_back({3, -1});
    std::vector<long long> out(in.size());
    xf_future *future = nullptr;
    xf_map map = {};
    map.task = &power;
    map.in = in.data();
    map.out = out.data();
    map.count = in.size();
    map.results = &future;
    if (!pool)
        return 1;
    int rc = xf_pool_map(pool.get(), &map);
    for (std::size_t i = 0; future && i < in.size(); i++) {
        if (const xf_report *report = xf_future_report(future, i))
            std::printf("%d ^ %d: %s\n", in[i].base, in[i].exponent, report->message);
        else
            std::printf("%d ^ %d = %lld\n", in[i].base, in[i].exponent, out[i]);
    }
    xf_future_free(future);
    return rc == 0 || rc == XF_EFAILED ? 0 : 1;
}
