/*
 * Included before each source by clang-tidy, which sees one file at a time: so that it knows what
 * error_set() and error_at() return, and does not walk on behind a failure.
 */
#include "base/error.h"

#define error_set(...) ((void)(error_set)(__VA_ARGS__), -1)
#define error_at(...) ((void)(error_at)(__VA_ARGS__), -1)
#define error_list_add(...) ((void)(error_list_add)(__VA_ARGS__), -1)
