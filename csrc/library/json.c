#include "json.h"

#include <string.h>

typedef struct {
    const char *at, *end;
    nac_json_node *nodes;
    size_t capacity, used;
} parser;

static void skip_space(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
        p->at++;
}

static int take(parser *p, char c)
{
    if (p->at == p->end || *p->at != c) return 0;
    p->at++;
    return 1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The four digits of \uXXXX at p; -1 if they are not there. */
static int32_t four_digits(const char *p, const char *end)
{
    if (end - p < 4) return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* One character of a string at *p, whose quotes are elsewhere: its code point, or -1. Surrogates must
 * be in pairs, and UTF-8 as short as it can be (RFC 3629). */
static int32_t character(const char **p, const char *end)
{
    const unsigned char first = (unsigned char)*(*p)++;
    if (first < 0x20) return -1;
    if (first == '\\') {
        static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
        if (*p == end) return -1;
        const char name = *(*p)++;
        if (name == 'u') {
            const int32_t high = four_digits(*p, end);
            if (high < 0) return -1;
            *p += 4;
            if (high < 0xd800 || high > 0xdfff) return high;
            if (high > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u') return -1;
            const int32_t low = four_digits(*p + 2, end);
            if (low < 0xdc00 || low > 0xdfff) return -1;
            *p += 6;
            return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        }
        const char *found = name ? strchr(names, name) : NULL;
        return found ? values[found - names] : -1;
    }
    if (first < 0x80) return first;
    const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || end - *p < more) return -1;
    int32_t code = first & (0x3f >> more);
    for (int i = 0; i < more; i++) {
        const unsigned char byte = (unsigned char)*(*p)++;
        if ((byte & 0xc0) != 0x80) return -1;
        code = (code << 6) | (byte & 0x3f);
    }
    static const int32_t lowest[] = {0, 0x80, 0x800, 0x10000};
    if (code < lowest[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return -1;
    return code;
}

static size_t put_utf8(int32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (int i = more; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(first[more] | code);
    return (size_t)more + 1;
}

/* Reserves a node, which may be beyond what is stored. */
static size_t open_node(parser *p) { return p->used++; }

static void close_node(parser *p, size_t i, nac_json_type type, const char *text, size_t count)
{
    if (i < p->capacity)
        p->nodes[i] = (nac_json_node){type, text, (size_t)(p->at - text), count, p->used};
}

static int string(parser *p)
{
    if (!take(p, '"')) return 0;
    const char *text = p->at;
    while (p->at < p->end && *p->at != '"')
        if (character(&p->at, p->end) < 0) return 0;
    if (p->at == p->end) return 0;
    const size_t i = open_node(p);
    close_node(p, i, NAC_JSON_STRING, text, 0);
    p->at++;
    return 1;
}

static size_t digits(parser *p)
{
    size_t n = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) n++;
    return n;
}

static int number(parser *p)
{
    const char *text = p->at;
    take(p, '-');
    if (!take(p, '0') && digits(p) == 0) return 0;
    if (take(p, '.') && digits(p) == 0) return 0;
    if (take(p, 'e') || take(p, 'E')) {
        if (!take(p, '-')) take(p, '+');
        if (digits(p) == 0) return 0;
    }
    const size_t i = open_node(p);
    close_node(p, i, NAC_JSON_NUMBER, text, 0);
    return 1;
}

static int word(parser *p, const char *text, nac_json_type type)
{
    const size_t size = strlen(text);
    if ((size_t)(p->end - p->at) < size || memcmp(p->at, text, size)) return 0;
    const char *from = p->at;
    p->at += size;
    const size_t i = open_node(p);
    close_node(p, i, type, from, 0);
    return 1;
}

static int value(parser *p, int depth);

/* Items of an array, or members of an object, up to the bracket that closes it. */
static int list(parser *p, int depth, char close, nac_json_type type)
{
    const char *text = p->at++;
    const size_t i = open_node(p);
    size_t count = 0;
    if (depth == NAC_JSON_DEPTH) return 0;
    skip_space(p);
    if (!take(p, close)) {
        do {
            skip_space(p);
            if (type == NAC_JSON_OBJECT) {
                if (!string(p)) return 0;
                skip_space(p);
                if (!take(p, ':')) return 0;
            }
            if (!value(p, depth + 1)) return 0;
            count++;
        } while (take(p, ','));
        if (!take(p, close)) return 0;
    }
    close_node(p, i, type, text, count);
    return 1;
}

static int value(parser *p, int depth)
{
    int found = 0;
    skip_space(p);
    if (p->at == p->end) return 0;
    switch (*p->at) {
    case '{': found = list(p, depth, '}', NAC_JSON_OBJECT); break;
    case '[': found = list(p, depth, ']', NAC_JSON_ARRAY); break;
    case '"': found = string(p); break;
    case 't': found = word(p, "true", NAC_JSON_TRUE); break;
    case 'f': found = word(p, "false", NAC_JSON_FALSE); break;
    case 'n': found = word(p, "null", NAC_JSON_NULL); break;
    default: found = number(p);
    }
    skip_space(p);
    return found;
}

size_t nac_json_parse(const char *text, size_t size, nac_json_node *nodes, size_t capacity)
{
    parser p = {text, text + size, nodes, capacity, 0};
    return value(&p, 0) && p.at == p.end ? p.used : 0;
}

size_t nac_json_string(const nac_json_node *node, char *out, size_t capacity)
{
    const char *at = node->text, *end = at + node->size;
    size_t used = 0;
    while (at < end) {
        char bytes[4];
        const size_t n = put_utf8(character(&at, end), bytes);
        for (size_t i = 0; i < n; i++, used++)
            if (used < capacity) out[used] = bytes[i];
    }
    return used;
}

int nac_json_equals(const nac_json_node *node, const char *text)
{
    if (node->type != NAC_JSON_STRING) return 0;
    const char *at = node->text, *end = at + node->size;
    while (at < end) {
        char bytes[4];
        const size_t n = put_utf8(character(&at, end), bytes);
        for (size_t i = 0; i < n; i++, text++)
            if (!*text || bytes[i] != *text) return 0;
    }
    return !*text;
}

size_t nac_json_member(const nac_json_node *nodes, size_t object, const char *name)
{
    size_t found = 0, key = object + 1;
    if (nodes[object].type != NAC_JSON_OBJECT) return 0;
    for (size_t i = 0; i < nodes[object].count; i++) {
        if (nac_json_equals(&nodes[key], name)) found = key + 1;
        key = nodes[key + 1].next;
    }
    return found;
}

int nac_json_integer(const nac_json_node *node, int64_t *value)
{
    if (node->type != NAC_JSON_NUMBER) return 0;
    const char *at = node->text, *end = at + node->size;
    const int negative = *at == '-';
    int64_t total = 0;
    for (at += negative; at < end; at++) {
        if (*at < '0' || *at > '9') return 0;
        const int digit = *at - '0';
        if (total > (INT64_MAX - digit) / 10) return 0;
        total = total * 10 + digit;
    }
    *value = negative ? -total : total;
    return 1;
}
