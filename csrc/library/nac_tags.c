#include "nac_tags.h"

#include <stdlib.h>
#include <string.h>

#include "nac_layout.h"

size_t nac_utf8(const char *text, uint32_t *character)
{
    const uint8_t *bytes = (const uint8_t *)text;
    const uint8_t first = bytes[0];
    if (first < 0x80) {
        *character = first;
        return 1;
    }
    const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (first < 0xc2 || first > 0xf4) return 0;
    uint32_t c = first & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0; /* the end of the text too */
        c = c << 6 | (bytes[i] & 0x3fu);
    }
    if (c < smallest[size] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff) return 0;
    *character = c;
    return size;
}

/* White space as of Unicode: what Python's str.strip takes away. */
static int is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* The bytes of `text` without white space around it, from *start on; 0 if it is empty or not UTF-8.
 */
static size_t stripped(const char *text, size_t *start)
{
    size_t at = 0, first = 0, end = 0;
    int begun = 0;
    while (text[at]) {
        uint32_t c = 0;
        const size_t size = nac_utf8(text + at, &c);
        if (!size) return 0;
        if (!is_space(c)) {
            if (!begun) first = at;
            begun = 1;
            end = at + size;
        }
        at += size;
    }
    *start = first;
    return end - first;
}

/* The bytes of the key at text, which ends at `end`; 0 if it cannot be one. */
static size_t key_size(const char *text, char end)
{
    size_t n = 0;
    for (; text[n] != end; n++) {
        const char c = text[n];
        const int allowed =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!allowed || n == NAC_MAX_KEY) return 0;
    }
    return n;
}

/* By key, and equal ones in their order in memory, which is that of the caller's array. */
static int compare(const void *one, const void *other)
{
    const codec_tag *a = *(const codec_tag *const *)one, *b = *(const codec_tag *const *)other;
    const int order = strcmp(a->key, b->key);
    return order ? order : (a > b) - (a < b);
}

size_t nac_tags_pack(const codec_tag *tags, size_t n_tags, const codec_tag **order, uint8_t *block)
{
    size_t size = 0, packed = 0;
    for (size_t i = 0; i < n_tags; i++) order[i] = tags + i;
    if (n_tags) qsort(order, n_tags, sizeof *order, compare);
    for (size_t i = 0; i < n_tags; i++) {
        if (i + 1 < n_tags && strcmp(order[i]->key, order[i + 1]->key) == 0) continue;
        size_t start = 0;
        const size_t key = key_size(order[i]->key, 0), value = stripped(order[i]->value, &start);
        if (!key || !value) continue;
        if (value > NAC_MAX_METADATA || size + key + value + 2 > NAC_MAX_METADATA) continue;
        if (packed == NAC_MAX_TAGS) break;
        memcpy(block + size, order[i]->key, key);
        block[size + key] = '=';
        memcpy(block + size + key + 1, order[i]->value + start, value);
        block[size + key + 1 + value] = 0;
        size += key + value + 2;
        packed++;
    }
    return size;
}

codec_status nac_tags_unpack(char *block, size_t size, size_t *n_tags)
{
    const char *before = "";
    *n_tags = 0;
    if (size && block[size - 1] != 0) return CODEC_ERROR_FORMAT;
    for (size_t at = 0; at < size;) {
        char *entry = block + at;
        const size_t length = strlen(entry); /* the block ends with a zero byte */
        char *sign = memchr(entry, '=', length);
        if (!sign || !key_size(entry, '=')) return CODEC_ERROR_FORMAT;
        *sign = 0;
        size_t start = 0;
        const char *value = sign + 1;
        const size_t kept = stripped(value, &start);
        if (!kept || start != 0 || value[kept] != 0 || strcmp(before, entry) >= 0 ||
            *n_tags == NAC_MAX_TAGS)
            return CODEC_ERROR_FORMAT;
        before = entry;
        ++*n_tags;
        at += length + 1;
    }
    return CODEC_OK;
}
