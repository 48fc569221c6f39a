/* What the macros of task.h are made of; for nobody else. */
#ifndef CROSSFORK_DEFINE_H
#define CROSSFORK_DEFINE_H

#include "export.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __cplusplus
#include <type_traits>
#endif

/* ---- A task ---------------------------------------------------------------------------------- */

/* Defines and registers the task whose entry has its name and "_entry" behind it.  Where a shared library and the
 * program each define a task of one name, the linker may give both the program's variable, and the program's entry with
 * it: they are two tasks all the same.
 *   sizes  Sets those that are not known before. */
#define XF_DEFINE(task, in_size, out_size, in_codec, out_codec, in_batch, sizes)                                       \
    xf_task task = {#task, task##_entry, in_size, out_size, in_codec, out_codec, in_batch, {XF_NULL, 0}, XF_HERE};     \
    XF_BEFORE_MAIN(task##_register)                                                                                    \
    {                                                                                                                  \
        static xf_task xf_other = {#task, task##_entry, 0, 0, XF_NULL, XF_NULL, XF_NULL, {XF_NULL, 0}, XF_HERE};       \
        if (task.entry == task##_entry) {                                                                              \
            sizes;                                                                                                     \
            (void)xf_task_register(&task);                                                                             \
        } else {                                                                                                       \
            (void)xf_task_register(&xf_other);                                                                         \
        }                                                                                                              \
    }

#define XF_HERE __FILE__ ":" XF_TEXT(__LINE__)
#define XF_TEXT(token) XF_TEXT_OF(token)
#define XF_TEXT_OF(token) #token

#define XF_CALL XF_MAYBE_UNUSED xf_call *call

#define XF_BATCH_PARAMETERS                                                                                            \
    (xf_call * call, const void *xf_from, void *xf_to, size_t xf_left, volatile unsigned *xf_settled)

/* The entry of a task that has a batch function: a process has one input. */
#define XF_ENTRY_BY_BATCH(task)                                                                                        \
    static int task##_entry(xf_call *call)                                                                             \
    {                                                                                                                  \
        volatile unsigned xf_settled = 0;                                                                              \
        void *xf_to = xf_call_output(call, task.output_size);                                                          \
        return xf_to ? task##_batch(call, xf_call_input(call, XF_NULL), xf_to, 1, &xf_settled) : XF_TASK_NO_MEMORY;    \
    }

/* Outputs are zeroed up to this size. */
#define XF_ZEROED_MAX 65536

/* Inputs and outputs are aligned to this at most. */
#define XF_ALIGN_MAX 64

#define XF_ALIGN_TEXT "a task's type is aligned to more than XF_ALIGN_MAX"

/* The start of an xf_call; XF_IN_COPY says whether this process is a copy that the task has forked. */
typedef struct xf_call_head {
    const volatile uint32_t *generation;
    uint32_t own;
} xf_call_head;

#define XF_IN_COPY(call) (*XF_CALL_HEAD(call)->generation != XF_CALL_HEAD(call)->own)

#ifndef __cplusplus

/* ---- Typed tasks in C ------------------------------------------------------------------------ */

#define XF_NULL NULL
#define XF_CALL_HEAD(call) ((const xf_call_head *)(const void *)(call))
#define XF_STATIC_ASSERT _Static_assert

#define XF_INPUT_AND_OUTPUT(task, in_parameter, out_parameter)                                                         \
    XF_TYPED(task, (XF_CALL, in_parameter, out_parameter), (call, in, out), in_parameter, out_parameter, sizeof *in,   \
             sizeof *out)
#define XF_INPUT(task, in_parameter)                                                                                   \
    XF_TYPED(task, (XF_CALL, in_parameter), (call, in), in_parameter, char *out, sizeof *in, 0)
#define XF_OUTPUT(task, out_parameter)                                                                                 \
    XF_TYPED(task, (XF_CALL, out_parameter), (call, out), const char *in, out_parameter, 0, sizeof *out)
#define XF_NEITHER(task) XF_TYPED(task, (XF_CALL), (call), const char *in, char *out, 0, 0)

/* The sizes are those of what in and out point to, which a function has to declare. */
#define XF_TYPED(task, parameters, arguments, in_parameter, out_parameter, in_size, out_size)                          \
    static int task##_run parameters;                                                                                  \
    static int task##_entry(xf_call *call);                                                                            \
    static int task##_batch XF_BATCH_PARAMETERS                                                                        \
    {                                                                                                                  \
        in_parameter = xf_from;                                                                                        \
        out_parameter = xf_to;                                                                                         \
        unsigned xf_done = *xf_settled;                                                                                \
        for (; xf_left > 0; xf_left--, in++, out++) {                                                                  \
            int xf_code;                                                                                               \
            if ((out_size) <= XF_ZEROED_MAX)                                                                           \
                memset(out, 0, out_size);                                                                              \
            xf_code = task##_run arguments;                                                                            \
            if (xf_code != 0 || XF_IN_COPY(call))                                                                      \
                return xf_code;                                                                                        \
            *xf_settled = ++xf_done;                                                                                   \
        }                                                                                                              \
        return 0;                                                                                                      \
    }                                                                                                                  \
    XF_DEFINE(task, 0, 0, NULL, NULL, task##_batch, XF_SIZES(task, in_parameter, out_parameter, in_size, out_size))    \
    XF_ENTRY_BY_BATCH(task)                                                                                            \
    static int task##_run parameters

#define XF_SIZES(task, in_parameter, out_parameter, in_size, out_size)                                                 \
    in_parameter = NULL;                                                                                               \
    out_parameter = NULL;                                                                                              \
    (void)in, (void)out;                                                                                               \
    XF_CHECK_ALIGN(*in);                                                                                               \
    XF_CHECK_ALIGN(*out);                                                                                              \
    task.input_size = in_size;                                                                                         \
    task.output_size = out_size

/* Only GCC and Clang tell in C to what an object is aligned. */
#ifdef __GNUC__
#define XF_CHECK_ALIGN(object) _Static_assert(__alignof__(object) <= XF_ALIGN_MAX, XF_ALIGN_TEXT)
#else
#define XF_CHECK_ALIGN(object) (void)0
#endif

#else

/* ---- Typed tasks in C++ ---------------------------------------------------------------------- */

#define XF_NULL nullptr
#define XF_CALL_HEAD(call) (static_cast<const xf_call_head *>(static_cast<const void *>(call)))
#define XF_STATIC_ASSERT static_assert

/* As text, a type that holds commas is several parameters; as a function's type it is one. */
#define XF_INPUT_AND_OUTPUT(task, ...) XF_TYPED(task, xf_input_and_output, (XF_CALL, __VA_ARGS__))
#define XF_INPUT(task, ...) XF_TYPED(task, xf_input, (XF_CALL, __VA_ARGS__))
#define XF_OUTPUT(task, ...) XF_TYPED(task, xf_output, (XF_CALL, __VA_ARGS__))
#define XF_NEITHER(task) XF_TYPED(task, xf_neither, (XF_CALL))

#define XF_TYPED(task, form, parameters)                                                                               \
    static int task##_run parameters;                                                                                  \
    static int task##_entry(xf_call *call);                                                                            \
    static int task##_batch XF_BATCH_PARAMETERS                                                                        \
    {                                                                                                                  \
        return xf_batch_of<form<decltype(&task##_run)>, &task##_run>(call, xf_from, xf_to, xf_left, xf_settled);       \
    }                                                                                                                  \
    XF_DEFINE(task, form<decltype(&task##_run)>::in_size, form<decltype(&task##_run)>::out_size, nullptr, nullptr,     \
              task##_batch, (void)0)                                                                                   \
    XF_ENTRY_BY_BATCH(task)                                                                                            \
    static int task##_run parameters

extern "C++" {

struct xf_call;

/* What a task's function takes, by its type. */
template <typename Run> struct xf_input_and_output {
    static_assert(sizeof(Run) == 0, "the parameters of XF_TASK are const In *in, Out *out");
};

template <typename In, typename Out> struct xf_input_and_output<int (*)(xf_call *, const In *, Out *)> {
    typedef int (*run)(xf_call *, const In *, Out *);
    typedef In in_type;
    typedef Out out_type;
    static const size_t in_size = sizeof(In), out_size = sizeof(Out);
    static int run_one(run function, xf_call *call, const In *in, Out *out)
    {
        return function(call, in, out);
    }
};

template <typename Run> struct xf_input {
    static_assert(sizeof(Run) == 0, "the parameter of XF_TASK_IN is const In *in");
};

template <typename In> struct xf_input<int (*)(xf_call *, const In *)> {
    typedef int (*run)(xf_call *, const In *);
    typedef In in_type;
    typedef char out_type;
    static const size_t in_size = sizeof(In), out_size = 0;
    static int run_one(run function, xf_call *call, const In *in, char *)
    {
        return function(call, in);
    }
};

template <typename Run> struct xf_output {
    static_assert(sizeof(Run) == 0, "the parameter of XF_TASK_OUT is Out *out");
};

template <typename Out> struct xf_output<int (*)(xf_call *, Out *)> {
    typedef int (*run)(xf_call *, Out *);
    typedef char in_type;
    typedef Out out_type;
    static const size_t in_size = 0, out_size = sizeof(Out);
    static int run_one(run function, xf_call *call, const char *, Out *out)
    {
        return function(call, out);
    }
};

template <typename Run> struct xf_neither {
    typedef int (*run)(xf_call *);
    typedef char in_type;
    typedef char out_type;
    static const size_t in_size = 0, out_size = 0;
    static int run_one(run function, xf_call *call, const char *, char *)
    {
        return function(call);
    }
};

/* Whether a copy of an object's bytes is a copy of the object.  std::pair is only not trivially copyable because it can
 * be assigned where its members are references. */
template <typename Type> struct xf_is_plain {
    static const bool value =
        std::is_trivially_copyable<Type>::value ||
        (std::is_trivially_copy_constructible<Type>::value && std::is_trivially_destructible<Type>::value);
};

/* The batch function of a task of that form. */
template <typename Form, typename Form::run function>
int xf_batch_of(xf_call *call, const void *from, void *to, size_t left, volatile unsigned *settled)
{
    const typename Form::in_type *in = static_cast<const typename Form::in_type *>(from);
    typename Form::out_type *out = static_cast<typename Form::out_type *>(to);
    unsigned done = *settled;

    static_assert(alignof(typename Form::in_type) <= XF_ALIGN_MAX, XF_ALIGN_TEXT);
    static_assert(alignof(typename Form::out_type) <= XF_ALIGN_MAX, XF_ALIGN_TEXT);
    static_assert(xf_is_plain<typename Form::in_type>::value, "the input is not trivially copyable");
    static_assert(xf_is_plain<typename Form::out_type>::value, "the output is not trivially copyable");
    for (; left > 0; left--, in++, out++) {
        int code;
        if (Form::out_size <= XF_ZEROED_MAX)
            memset(static_cast<void *>(out), 0, Form::out_size);
        code = Form::run_one(function, call, in, out);
        if (code != 0 || XF_IN_COPY(call))
            return code;
        *settled = ++done;
    }
    return 0;
}

} /* extern "C++" */

#endif

#endif
