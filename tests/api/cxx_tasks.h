/* What cxx_tasks.cpp defines. */
#ifndef CXX_TASKS_H
#define CXX_TASKS_H

#include "crossfork.h"

#include <utility>

XF_DECLARE(exchange);     // the halves of a pair
XF_DECLARE(sum_of_three); // of an array
XF_DECLARE(is_ordered);   // no output
XF_DECLARE(give_pair);    // no input
XF_DECLARE(do_nothing);
XF_DECLARE(never_run);

namespace tasks
{
XF_DECLARE(of_a_namespace);
} // namespace tasks

int third_of(const xf_array *array); // element 2

#endif
