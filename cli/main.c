#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/wipe.h"
#include "cli/commands.h"
#include "smtp/offload.h"

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
    const char *usage;
} commands[] = {
    {"serve", "run the gateway in the foreground", cli_serve, cli_serve_usage},
    {"check", "validate the configuration and print what was understood", cli_check,
     cli_check_usage},
    {"verify", "probe a relay step by step, and say what would mend it", cli_verify,
     cli_verify_usage},
    {"send", "send one message and print the relay's reply", cli_send, cli_send_usage},
    {"login", "obtain an OAuth2 refresh token, with a person's help, and store it", cli_login,
     cli_login_usage},
    {"key", "make an API key", cli_key, cli_key_usage},
    {"version", "print the version", cli_version, "usage: postern version\n"},
    {"help", "print this, or how a command is used", cli_help, "usage: postern help [COMMAND]\n"},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_usage(FILE *out)
{
    fputs("usage: postern COMMAND [OPTIONS]\n\n", out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
}

/* N_COMMANDS after telling that there is none. */
static size_t find(const char *name)
{
    size_t i = 0;
    while (i < N_COMMANDS && strcmp(commands[i].name, name) != 0)
        i++;
    if (i == N_COMMANDS && name[0] != '\0')
        fprintf(stderr, "postern: there is no command \"%s\"\n", name);
    return i;
}

int cli_help(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stdout);
        return EXIT_SUCCESS;
    }
    size_t i = find(argv[1]);
    if (i == N_COMMANDS)
        return EXIT_USAGE;
    fputs(commands[i].usage, stdout);
    return EXIT_SUCCESS;
}

int cli_version(int argc, char **argv)
{
    puts("postern " POSTERN_VERSION);
    return EXIT_SUCCESS;
}

/* Whatever is opened first would else be what others take for stderr: a line of the log must not
 * end up in a store, or in what a relay is told. */
static void hold_standard_files(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    hold_standard_files();
    json_set_alloc_funcs(malloc, wipe_free); /* grants and tokens are among what it reads */
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    size_t i = find(name);
    if (i == N_COMMANDS) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (argc == 3 && strcmp(argv[2], "--help") == 0) {
        fputs(commands[i].usage, stdout);
        return EXIT_SUCCESS;
    }
    int status = commands[i].run(argc - 1, argv + 1);
    if (offloads_running() || threads_left()) {
        fflush(NULL);
        _exit(status);
    }
    return status;
}
