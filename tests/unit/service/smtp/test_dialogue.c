#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/unit/support/dialogue_player.h"

/* Every conversation of tests/conversations, with the octets coming and going in pieces of several
 * sizes: what a dialogue does must not depend on how the network cuts them. */

static void play_all(const struct dialogue_pace *pace)
{
    char **paths = conversation_paths("tests/conversations");
    size_t n_played = 0, n_failed = 0;
    for (size_t i = 0; paths[i] != NULL; i++) {
        struct conversation *conversation = conversation_load(paths[i]);
        cr_expect_not_null(conversation, "%s cannot be read", paths[i]);
        n_played++;
        if (conversation == NULL || !dialogue_play(conversation, pace)) {
            fprintf(stderr, "%s, %s\n", paths[i], pace->name);
            n_failed++;
        }
        conversation_free(conversation);
    }
    conversation_paths_free(paths);
    cr_assert_gt(n_played, 0);
    cr_assert_eq(n_failed, 0, "%zu of %zu conversations, %s", n_failed, n_played, pace->name);
}

Test(dialogue, conversations_in_whole_segments)
{
    play_all(&(const struct dialogue_pace){"all at once", 0, 0});
}

Test(dialogue, conversations_octet_by_octet)
{
    play_all(&(const struct dialogue_pace){"an octet at a time", 1, 1});
}

Test(dialogue, conversations_read_in_pieces)
{
    play_all(&(const struct dialogue_pace){"read by 3, written at once", 3, 0});
}

Test(dialogue, conversations_written_in_pieces)
{
    play_all(&(const struct dialogue_pace){"read at once, written by 7", 0, 7});
}
