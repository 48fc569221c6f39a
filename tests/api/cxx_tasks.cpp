/* Tasks of each form in C++, with types that hold commas.  ci/headers compiles it with all warnings that a program may
 * ask for. */
#include "cxx_tasks.h"

XF_TASK(exchange, const std::pair<int, long> *in, std::pair<long, int> *out)
{
    out->first = in->second;
    out->second = in->first;
    return 0;
}

XF_TASK(sum_of_three, const int (*in)[3], int *out)
{
    *out += (*in)[0] + (*in)[1] + (*in)[2]; // it was 0
    return 0;
}

XF_TASK_IN(is_ordered, const std::pair<int, long> *in)
{
    return in->first <= in->second ? 0 : xf_fail(call, 4, "%d comes after %ld", in->first, in->second);
}

XF_TASK_OUT(give_pair, std::pair<int, long> *out)
{
    out->first = 3;
    out->second = 4;
    return 0;
}

XF_TASK_BARE(do_nothing)
{
    return 0;
}

static const xf_codec no_codec = {nullptr, nullptr, nullptr};

XF_ENTRY_CODEC(never_run, &no_codec, nullptr)
{
    return xf_call_output(call, XF_ANY_SIZE) ? XF_TASK_NO_MEMORY : 0;
}

namespace tasks
{

XF_TASK_OUT(of_a_namespace, int *out)
{
    *out = 6;
    return 0;
}

} // namespace tasks

int third_of(const xf_array *array)
{
    return XF_ARRAY_AT(array, const int, 2);
}
