/* How the items of a future ended.  All functions but the first two are called with the pool's lock held. */
#ifndef ITEM_RESULTS_H
#define ITEM_RESULTS_H

#include "pool/pool_state.h"

/* A report of an item that ended in no particular process; its texts are those of its arguments and of the future. */
xf_report item_results_blank_report(const xf_future *future, uint64_t item, xf_status status, const char *message);

/* Why an item that no worker has claimed ended so; "": there is nothing to add. */
const char *item_results_why_unclaimed(const xf_future *future, xf_status status);

/* Notes an item that is not done.  The future owns the report, which may be NULL. */
void item_results_add(xf_future *future, uint64_t item, xf_report *report, xf_status status);

/* Notes that an item has ended as the report says, and saves the item if that is wanted.  The report is copied. */
void item_results_add_report(xf_future *future, uint64_t item, const xf_report *report, stack_trace *trace);

/* Notes that the task of an item has called xf_fail with that code, in a worker that died before it recorded that.
 *   pid  Of the worker. */
void item_results_add_said(xf_future *future, uint64_t item, int code, int64_t pid);

/* Whether a worker has recorded that the item failed. */
bool item_results_has_record(const xf_future *future, uint64_t item);

/* The output of an item that is done, of a future whose results are collected.  XF_ENOMEM when memory was missing to
 * keep where it is. */
int item_results_output(const xf_future *future, uint64_t item, xf_bytes *output);

/* Collects the results of a complete future: its failures in the order of items, and its outputs.  Does so once. */
void item_results_collect(xf_future *future);

/* Of a future whose results are collected:
 *   item_results_find      The failure of an item; NULL: none was noted.
 *   item_results_status    How the item ended.  When memory was missing to note a failure, an item without one may have
 *                          failed: XF_END_UNKNOWN.
 *   item_results_failures  How many items are not known to be done. */
item_failure *item_results_find(const xf_future *future, uint64_t item);
xf_status item_results_status(const xf_future *future, uint64_t item);
size_t item_results_failures(const xf_future *future);

#endif
