#ifndef POSTERN_API_FIELD_H
#define POSTERN_API_FIELD_H

/* What values of header fields are made of (RFC 9110, 5.6): blanks, words, lists, parameters. */

#include <stdbool.h>
#include <stddef.h>

/* The length without blanks at the end, which are no part of a value (RFC 9110, 5.5). */
size_t field_trimmed(const char *value, size_t len);

const char *field_skip_blanks(const char *s);
/* The length of the token (RFC 9110, 5.6.2) that `s` begins with; 0: none. */
size_t field_token_length(const char *s);

/*
 * Take a token or a quoted string at `*at` (RFC 9110, 5.6.4) and go on behind it. A quoted string
 * is taken without its quotes and backslashes; what does not fit into `size` is left off. false,
 * and `*at` as it was, if there is neither or the quote does not end.
 */
bool field_take_word(const char **at, char *out, size_t size);

/* The next of a list's elements: behind the comma that ends the one at `s`, or at the end. Commas
 * in quoted strings end none. */
const char *field_next_element(const char *s);

/* Is each element of the list this word, in any case? One of no elements is. */
bool field_list_only(const char *list, const char *word);

#endif
