#ifndef POSTERN_CLI_COMMANDS_H
#define POSTERN_CLI_COMMANDS_H

/* One file a command. Each returns the process's exit status. */

enum { EXIT_USAGE = 2, EXIT_CONFIG = 3 }; /* beside EXIT_SUCCESS and EXIT_FAILURE */

int cli_serve(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_send(int argc, char **argv);
int cli_login(int argc, char **argv);
int cli_key(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_help(int argc, char **argv);

extern const char cli_serve_usage[], cli_check_usage[], cli_verify_usage[], cli_send_usage[],
    cli_login_usage[], cli_key_usage[];

#endif
