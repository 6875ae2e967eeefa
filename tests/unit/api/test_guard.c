#include <criterion/criterion.h>
#include <string.h>

#include "api/guard.h"

struct field {
    const char *name, *value;
    size_t value_len; /* 0: strlen() */
};

struct row {
    const char *name;
    const char *version; /* NULL: HTTP/1.1 */
    struct field fields[5];
    bool bad;
    bool has_body;
};

static const struct row rows[] = {
    {"plain", NULL, {{"Host", "x"}, {"Accept", "*/*"}}, false, false},
    {"with a length", NULL, {{"Host", "x:80"}, {"Content-Length", "5"}}, false, true},
    {"of no length", NULL, {{"Host", "x"}, {"Content-Length", "0"}}, false, false},
    {"chunked", NULL, {{"Host", "[::1]:80"}, {"Transfer-Encoding", "chunked"}}, false, true},
    {"Chunked", NULL, {{"host", ""}, {"transfer-encoding", "Chunked"}}, false, true},
    {"a tab in a value", NULL, {{"Host", "x"}, {"A", "b\tc"}}, false, false},
    {"UTF-8 in a value", NULL, {{"Host", "x"}, {"A", "\xc3\xb6"}}, false, false},
    {"1.0 without Host", "HTTP/1.0", {{"A", "b"}}, false, false},

    {"both lengths",
     NULL,
     {{"Host", "x"}, {"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}},
     true,
     true},
    {"two lengths that differ",
     NULL,
     {{"Host", "x"}, {"Content-Length", "5"}, {"Content-Length", "6"}},
     true,
     true},
    {"two lengths alike",
     NULL,
     {{"Host", "x"}, {"Content-Length", "5"}, {"content-length", "5"}},
     true,
     true},
    {"a list of lengths", NULL, {{"Host", "x"}, {"Content-Length", "5, 5"}}, true, true},
    {"a signed length", NULL, {{"Host", "x"}, {"Content-Length", "+5"}}, true, true},
    {"a negative length", NULL, {{"Host", "x"}, {"Content-Length", "-1"}}, true, true},
    {"a hexadecimal length", NULL, {{"Host", "x"}, {"Content-Length", "0x5"}}, true, true},
    {"an empty length", NULL, {{"Host", "x"}, {"Content-Length", ""}}, true, false},
    {"another encoding", NULL, {{"Host", "x"}, {"Transfer-Encoding", "xchunked"}}, true, true},
    {"identity", NULL, {{"Host", "x"}, {"Transfer-Encoding", "identity"}}, true, true},
    {"a list of encodings",
     NULL,
     {{"Host", "x"}, {"Transfer-Encoding", "gzip, chunked"}},
     true,
     true},
    {"chunked and a NUL", NULL, {{"Host", "x"}, {"Transfer-Encoding", "chunked\0", 8}}, true},
    {"two encodings",
     NULL,
     {{"Host", "x"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
     true,
     true},
    {"an encoding in 1.0", "HTTP/1.0", {{"Transfer-Encoding", "chunked"}}, true, true},
    {"a space before the colon", NULL, {{"Host", "x"}, {"Transfer-Encoding ", "chunked"}}, true},
    {"an empty name", NULL, {{"Host", "x"}, {"", "b"}}, true},
    {"a name with an umlaut", NULL, {{"Host", "x"}, {"\xc3\xb6", "b"}}, true},
    {"a name in parentheses", NULL, {{"Host", "x"}, {"(a)", "b"}}, true},
    {"a NUL in a value", NULL, {{"Host", "x"}, {"A", "b\0c", 3}}, true},
    {"a CR in a value", NULL, {{"Host", "x"}, {"A", "b\rc"}}, true},
    {"no Host", NULL, {{"A", "b"}}, true},
    {"two Hosts", NULL, {{"Host", "x"}, {"Host", "x"}}, true},
    {"two Hosts in 1.0", "HTTP/1.0", {{"Host", "x"}, {"Host", "y"}}, true},
    {"a list of Hosts", NULL, {{"Host", "x, y"}}, true},
    {"a Host with user", NULL, {{"Host", "a@x"}}, true},
    {"a blank behind Host", NULL, {{"Host", "x \t"}}, false},
    {"a blank within Host", NULL, {{"Host", "x y"}}, true},
    {"a blank behind an encoding", NULL, {{"Host", "x"}, {"Transfer-Encoding", "chunked "}}, true},
    {"two keys", NULL, {{"Host", "x"}, {"Authorization", "a"}, {"authorization", "a"}}, true},
    {"two types", NULL, {{"Host", "x"}, {"Content-Type", "a"}, {"Content-type", "b"}}, true},
    {"two idempotency keys",
     NULL,
     {{"Host", "x"}, {"Idempotency-Key", "a"}, {"A", "b"}, {"idempotency-key", "a"}},
     true},
    {"one of each",
     NULL,
     {{"Host", "x"}, {"Idempotency-Key", "a"}, {"Authorization", "b"}, {"Content-Type", "c"}},
     false},
    {"two lines of a list", NULL, {{"Host", "x"}, {"Prefer", "a"}, {"Prefer", "b"}}, false},
    {"another version", "HTTP/1.2", {{"Host", "x"}}, true},
    {"HTTP/2 in the clear", "HTTP/2.0", {{"Host", "x"}}, true},
};

Test(guard, refuses_what_leaves_a_doubt)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct guard guard = {0};
        size_t octets = 0;
        for (const struct field *f = row->fields; f->name != NULL; f++) {
            size_t len = f->value_len > 0 ? f->value_len : strlen(f->value);
            guard_field(&guard, f->name, strlen(f->name), f->value, len);
            octets += strlen(f->name) + len + 4;
        }
        const char *fault = guard_fault(&guard, row->version ? row->version : "HTTP/1.1");
        cr_expect_eq(fault != NULL, row->bad, "%s: %s", row->name, fault ? fault : "taken");
        cr_expect_eq(guard.octets, octets, "%s", row->name);
        if (row->has_body || !row->bad)
            cr_expect_eq(guard_has_body(&guard), row->has_body, "%s", row->name);
    }
}

Test(guard, knows_json)
{
    static const struct {
        const char *type;
        bool json;
    } types[] = {
        {"application/json", true},
        {"Application/JSON; Charset=UTF-8", true},
        {"application/json;charset=\"utf-8\"", true},
        {"application/json ; charset=utf-8", true},
        {"application/json;", true},
        {"application/json; charset=utf8", true},
        {"application/json; charset=utf-8;", true},
        {"application/json; charset=utf-8; odata=verbose", true},
        {"application/json;profile=x", true},
        {"application/json; profile=\"a; charset=latin1\"; q=\"\\\"\"", true},
        {"application/json; CharSet = utf-8", true},
        {"application/json\t;\tcharset=\"UTF\\-8\"\t", true},
        {"application/json ; ; a=b", true},
        {"application/json; profile=x; charset=latin1", false},
        {"application/json; charset=utf-16", false},
        {"application/json; charset=utf-8xxxxxxxxxxxxxxxxx", false},
        {"application/json; charset=\"utf-8", false},
        {"application/json; charset", false},
        {"application/json; charset=", false},
        {"application/json; a=b c=d", false},
        {"application/json, application/json", false},
        {NULL, false},
        {"", false},
        {"text/plain", false},
        {"application/jsonp", false},
        {"application/json charset=utf-8", false},
        {"application/jsoncharset=utf-8", false},
        {"application/json-patch+json", false},
        {"application/json; charset=latin1", false},
        {"application/json; charset=utf-8; charset=latin1", false},
        {"application/x-www-form-urlencoded", false},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        cr_expect_eq(guard_is_json(types[i].type), types[i].json, "%s",
                     types[i].type != NULL ? types[i].type : "none");
}
