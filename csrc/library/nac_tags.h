/* The tags of a recording as one bounded block of UTF-8; the twin of codec/nac/tags.py. */
#ifndef NAC_TAGS_H
#define NAC_TAGS_H

#include <stddef.h>
#include <stdint.h>

#include "include/codec.h"

enum { NAC_MAX_TAGS = 256, NAC_MAX_KEY = 32 };

/* Packs tags as "key=value" and a zero byte each, sorted by key, into block [NAC_MAX_METADATA];
 * returns the bytes used. Left out are tags whose key is not 1 to 32 of a-z, 0-9, _ and -, whose
 * value is empty or not UTF-8, and those beyond the limits. Of equal keys the last counts. White
 * space around a value goes. order [n_tags] is scratch. */
size_t nac_tags_pack(const codec_tag *tags, size_t n_tags, const codec_tag **order, uint8_t *block);

/* Checks that block [size] is what nac_tags_pack writes, and sets *n_tags. In it each '=' that ends
 * a key becomes a zero byte, so that keys and values are C strings. */
codec_status nac_tags_unpack(char *block, size_t size, size_t *n_tags);

/* The bytes of the character at text, which ends at a zero byte, and the character; 0 if it is not
 * UTF-8 as of RFC 3629: no surrogates, no longer forms. */
size_t nac_utf8(const char *text, uint32_t *character);

#endif
