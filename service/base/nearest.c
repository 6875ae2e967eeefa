#include "base/nearest.h"

#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

enum { SLIPS_MAX = 2 };

/* How many letters to insert, drop, change or swap with their neighbour; more than SLIPS_MAX if a
 * word is too long to compare. By optimal string alignment: three rows of the table are enough, the
 * third for the swap. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][NEAREST_WORD_MAX + 1];
    size_t len_a = strlen(a), len_b = strlen(b);
    if (len_a > NEAREST_WORD_MAX || len_b > NEAREST_WORD_MAX)
        return SLIPS_MAX + 1;
    for (size_t j = 0; j <= len_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            row[j] = least(above[j - 1] + (a[i - 1] != b[j - 1]), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[len_a % 3][len_b];
}

void nearest_init(struct nearest *nearest, const char *written)
{
    *nearest = (struct nearest){.written = written, .away = SLIPS_MAX + 1};
}

void nearest_offer(struct nearest *nearest, const char *known)
{
    size_t away = distance(nearest->written, known);
    if (away < nearest->away && away < strlen(known)) {
        nearest->away = away;
        nearest->word = known;
    }
}
