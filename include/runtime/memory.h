#ifndef RUNTIME_MEMORY_H
#define RUNTIME_MEMORY_H

/*
 * How much memory the process may take, and how much of it may be bytes of documents: the budget of
 * the ledger (runtime/credit.h).
 */

#include <stddef.h>
#include <stdint.h>

/* The least limit of the control groups that the process is in, in bytes; 0: none, or none that can
 * be read. Version 2 (memory.max) and version 1 (memory.limit_in_bytes), its own group and those
 * above it (Linux, Documentation/admin-guide/cgroup-v2.rst). root: "" for the real ones. */
uint64_t memory_group_limit(const char *root);

/* The ledger's budget. said: what an operator lets the process take, 0: nobody said; it wins over
 * the group's limit and may also raise the budget beyond the usual 48 MiB. */
size_t memory_budget(uint64_t said, uint64_t group_limit);

#endif
