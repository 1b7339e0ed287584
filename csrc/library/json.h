/* JSON (RFC 8259), strictly: nothing beyond the grammar, depth bounded, and no value is interpreted
 * until it is asked for.
 *
 * A document becomes an array of nodes in the order of the text: an object is followed by its
 * members, each a key and a value, an array by its items. `next` skips a node with all that is in it:
 *
 *     for (size_t i = 0, key = object + 1; i < nodes[object].count; i++) {
 *         const size_t value = key + 1;
 *         ...
 *         key = nodes[value].next;
 *     } */
#ifndef NAC_JSON_H
#define NAC_JSON_H

#include <stddef.h>
#include <stdint.h>

enum { NAC_JSON_DEPTH = 16 };

typedef enum {
    NAC_JSON_NULL,
    NAC_JSON_FALSE,
    NAC_JSON_TRUE,
    NAC_JSON_NUMBER,
    NAC_JSON_STRING,
    NAC_JSON_ARRAY,
    NAC_JSON_OBJECT
} nac_json_type;

typedef struct {
    nac_json_type type;
    const char *text; /* a number or keyword; a string between its quotes, escapes as they are */
    size_t size;      /* bytes of text */
    size_t count;     /* items or members */
    size_t next;      /* the index after this node and all in it */
} nac_json_node;

/* Parses one document. Returns its number of nodes, or 0 if it is no JSON or nested too deeply. Only
 * the first `capacity` nodes are stored: a first call with 0 counts them. Strings must be valid UTF-8, and
 * their escapes complete. */
size_t nac_json_parse(const char *text, size_t size, nac_json_node *nodes, size_t capacity);

/* Decodes a string to UTF-8. Returns its bytes, of which the first `capacity` are written; a string takes at
 * most node->size. */
size_t nac_json_string(const nac_json_node *node, char *out, size_t capacity);

/* Whether a node is a string that equals `text`, which ends with a zero byte. */
int nac_json_equals(const nac_json_node *node, const char *text);

/* The value of the last member `name` of the object at `object`, as Python's json takes it; 0 if there is
 * none. */
size_t nac_json_member(const nac_json_node *nodes, size_t object, const char *name);

/* The value of a number that is written as an integer and fits; returns 0 for all else. */
int nac_json_integer(const nac_json_node *node, int64_t *value);

#endif
