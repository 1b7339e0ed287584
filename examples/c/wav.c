#include "wav.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PCM 1u
#define IEEE_FLOAT 3u
#define EXTENSIBLE 0xfffeu
#define UNKNOWN 0xffffffffu
#define MAX_LONG_SIZE ((uint64_t)0x7fff0000u << 32)
#define MOST_KEPT (1u << 20) /* bytes of a chunk whose content is read */
#define MAX_WAV_BYTES ((uint64_t)0xffffffffu - 4095)
#define MAX_PEAK 256.0f /* beyond are integers stored as floats, or garbage */

static const struct {
    const char name[5], *key;
} info_names[] = {{"INAM", "title"},   {"IART", "artist"},      {"IPRD", "album"},
                  {"ICRD", "date"},    {"ITRK", "tracknumber"}, {"IGNR", "genre"},
                  {"ICMT", "comment"}, {"ICOP", "copyright"},   {"", "license"}};
enum { N_NAMES = sizeof info_names / sizeof *info_names };

static const char known[][5] = {"fmt ", "data", "ds64", "LIST", "id3 ", "ID3 ", "bext",
                                "cue ", "smpl", "fact", "iXML", "_PMX", "PEAK", "JUNK",
                                "junk", "afsp", "axml", "chna", "inst", "acid"};
enum { N_KNOWN = sizeof known / sizeof *known, N_HEAD = 3 }; /* the first 3 precede samples */

static const char speakers[][4] = {"FL", "FR", "FC", "LFE", "BL",  "BR",  "FLC", "FRC", "BC",
                                   "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"};
enum { N_SPEAKERS = sizeof speakers / sizeof *speakers };

static const char no_memory[] = "out of memory";
static const char no_read[] = "the file cannot be read";
static const char no_write[] = "the audio cannot be written: is the disk full?";
static const char no_samples[] = "a WAV without samples: it has no data chunk";
static const char more_follows[] = "more follows than the WAV claims, which was not read";

static uint32_t get(const uint8_t *bytes, size_t n)
{
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint32_t)bytes[i] << 8 * i;
    return value;
}

static void put(uint8_t *to, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)(value >> 8 * i);
}

static int is(const uint8_t *name, const char *text) { return memcmp(name, text, 4) == 0; }

static int among(const uint8_t *name, size_t first)
{
    for (size_t i = first; i < N_KNOWN; i++)
        if (is(name, known[i])) return 1;
    return 0;
}

/* Whether it is a size that recorders write when they know none: near 2^31, or near 2^32. */
static int is_endless(uint32_t size)
{
    const uint32_t high = size >> 16;
    return high == 0x7fff || high == 0x8000 || high == 0xffff;
}

static int is_container(const uint8_t *name)
{
    return is(name, "RIFF") || is(name, "RF64") || is(name, "BW64");
}

const char *wav_tag_name(size_t i) { return i < N_NAMES ? info_names[i].key : NULL; }

void wav_free(wav_tags *tags)
{
    for (size_t i = 0; i < tags->n; i++) free(tags->values[i]);
    tags->n = 0;
}

int wav_set_tag(wav_tags *tags, const char *key, const char *value, size_t size)
{
    size_t i = 0;
    while (i < tags->n && strcmp(tags->keys[i], key) != 0) i++;
    if (i == WAV_MAX_TAGS) return 1; /* more than there are names for */
    char *copy = malloc(size + 1);
    if (!copy) return 0;
    memcpy(copy, value, size);
    copy[size] = 0;
    if (i == tags->n)
        tags->n++;
    else
        free(tags->values[i]);
    tags->keys[i] = key;
    tags->values[i] = copy;
    return 1;
}

/* The bytes of the UTF-8 character at text [n], 0 if there is none (Unicode, table 3-7). */
static size_t utf8_character(const uint8_t *text, size_t n)
{
    const uint8_t first = text[0];
    const size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size > n || (first >= 0x80 && (first < 0xc2 || first > 0xf4))) return 0;
    for (size_t at = 1; at < size; at++) {
        uint8_t low = 0x80, high = 0xbf;
        if (at == 1 && first == 0xe0) low = 0xa0;
        if (at == 1 && first == 0xed) high = 0x9f;
        if (at == 1 && first == 0xf0) low = 0x90;
        if (at == 1 && first == 0xf4) high = 0x8f;
        if (text[at] < low || text[at] > high) return 0;
    }
    return size;
}

/* The character of a byte from 0x80 on in Windows-1252, U+FFFD where it has none. */
static unsigned windows_character(uint8_t byte)
{
    static const uint16_t first[32] = {
        0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178};
    return byte < 0xa0 ? first[byte - 0x80] : byte;
}

/* Keeps text [n], of UTF-8 or else of Windows-1252, as UTF-8 under a key, up to its first zero byte. */
static int keep_text(wav_tags *tags, const char *key, const uint8_t *text, size_t n)
{
    char *utf8 = malloc(3 * n + 1);
    size_t size = 0, length = 0, valid = 0;
    if (!utf8) return 0;
    while (length < n && text[length]) length++;
    for (size_t part = 1; valid < length && part; valid += part)
        part = utf8_character(text + valid, length - valid);
    for (size_t at = 0; at < length; at++) {
        if (text[at] < 0x80 || valid == length) {
            utf8[size++] = (char)text[at];
            continue;
        }
        const unsigned c = windows_character(text[at]);
        if (c >= 0x800) utf8[size++] = (char)(0xe0 | c >> 12);
        utf8[size++] = (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6);
        utf8[size++] = (char)(0x80 | (c & 0x3f));
    }
    const int kept = size == 0 || wav_set_tag(tags, key, utf8, size);
    free(utf8);
    return kept;
}

/* Reads n bytes at wav->at, fewer at the end of the file. */
static size_t take(wav_reader *wav, void *bytes, size_t n)
{
    if (wav->at >= wav->size) return 0;
    if (fseeko(wav->file, (off_t)wav->at, SEEK_SET) != 0) return 0;
    n = fread(bytes, 1, n, wav->file);
    wav->at += n;
    return n;
}

/* The tags of a LIST chunk of `size` bytes that follows. */
static const char *take_list(wav_reader *wav, wav_tags *tags, size_t size)
{
    const char *problem = NULL;
    uint8_t *body = malloc(size + 1);
    if (!body) return no_memory;
    size = take(wav, body, size);
    for (uint64_t at = 4; size >= 4 && is(body, "INFO") && at + 8 <= size;) {
        const uint8_t *name = body + at;
        const uint32_t n = get(name + 4, 4);
        at += 8;
        for (size_t i = 0; i < N_NAMES; i++)
            if (is(is(name, "IPRT") ? (const uint8_t *)"ITRK" : name, info_names[i].name) &&
                at + n <= size && !keep_text(tags, info_names[i].key, body + at, n))
                problem = no_memory;
        at += (uint64_t)n + n % 2;
    }
    free(body);
    return problem;
}

/* Chunks up to the one of samples; format [40] holds the start of "fmt ", *format_size tells how
 * much. *data_size is that of the samples, *stated its 32 bits, *endless tells that it is unknown. */
static const char *walk(wav_reader *wav, uint8_t *format, size_t *format_size, uint64_t *data_size,
                        uint32_t *stated, int *endless)
{
    uint8_t head[12], ahead[5];
    size_t n_ahead = 0;
    uint64_t long_size = 0;
    uint32_t size = 0;
    if (take(wav, head, 12) < 12 || !is_container(head) || !is(head + 8, "WAVE"))
        return "not a WAV";
    for (;;) {
        memcpy(head, ahead, n_ahead);
        if (take(wav, head + n_ahead, 8 - n_ahead) < 8 - n_ahead) return no_samples;
        n_ahead = 0;
        size = get(head + 4, 4);
        if (is(head, "data")) break;
        const uint64_t next = wav->at + size;
        if (is(head, "fmt ") && size >= 16 && size <= MOST_KEPT) {
            *format_size = size < 40 ? size : 40;
            if (take(wav, format, *format_size) < *format_size) return no_samples;
        } else if (is(head, "ds64") && size >= 16 && size <= MOST_KEPT) {
            uint8_t sizes[16];
            if (take(wav, sizes, 16) < 16) return no_samples;
            long_size = get(sizes + 8, 4) | (uint64_t)get(sizes + 12, 4) << 32;
        } else if (is(head, "LIST") && size <= MOST_KEPT) {
            const char *problem = take_list(wav, &wav->tags, size);
            if (problem) return problem;
        }
        if (next > wav->size) return no_samples;
        wav->at = next;
        if (size % 2 == 0) continue;
        /* A chunk of odd size without its pad byte is told by the letter that is in its place: the
         * first of the next name, unless a known name follows. */
        if (take(wav, ahead, 1) < 1) return no_samples;
        if ((ahead[0] | 32) < 'a' || (ahead[0] | 32) > 'z') continue;
        if (take(wav, ahead + 1, 4) < 4) return no_samples;
        n_ahead = 5;
        if (among(ahead + 1, 0)) {
            memmove(ahead, ahead + 1, 4);
            n_ahead = 4;
        }
    }
    *endless = 0;
    *data_size = *stated = size;
    if (size == UNKNOWN && long_size > 0 && long_size < MAX_LONG_SIZE) {
        *data_size = long_size;
    } else if (size == 0) { /* it was never filled in, unless another chunk follows */
        const uint64_t start = wav->at;
        *endless = !(take(wav, head, 4) == 4 && among(head, N_HEAD));
        wav->at = start;
    } else {
        *endless = is_endless(size);
    }
    return NULL;
}

/* The size of the samples, which begin here, with the bits beyond 32 that the file's length shows;
 * 0 if it shows none. Whoever writes more than 4 GB may state the size modulo 2^32. It is that of
 * the samples if the file ends there, or a known chunk follows. */
static uint64_t size_shown(wav_reader *wav, uint32_t stated)
{
    const uint64_t start = wav->at, there = wav->size - start, wrap = (uint64_t)1 << 32;
    uint64_t size = stated ? stated : wrap, shown = 0;
    for (; stated != UNKNOWN && !shown && size <= there; size += wrap) {
        uint8_t head[5];
        wav->at = start + size;
        const size_t n = take(wav, head, 5), pad = size % 2;
        if (n <= pad || (n >= 4 && among(head, N_HEAD)) ||
            (n >= 4 + pad && among(head + pad, N_HEAD)))
            shown = size;
    }
    wav->at = start;
    return shown;
}

static int all_zeros(const uint8_t *bytes, size_t n)
{
    size_t i = 0;
    while (i < n && !bytes[i]) i++;
    return i == n;
}

static int is_name(const uint8_t *name, int letters)
{
    for (int i = 0; i < letters; i++)
        if (name[i] < 32 || name[i] > 126) return 0;
    return 1;
}

/* Whether nothing but zeros follows, as where a file was allocated ahead. */
static int zeros_follow(wav_reader *wav)
{
    uint8_t part[8192];
    size_t n = 1;
    while (n && (n = take(wav, part, sizeof part)) > 0)
        if (!all_zeros(part, n)) return 0;
    return 1;
}

/* The tags of the chunks behind the samples, which count only if no more samples follow. letters: of
 * a chunk's name that must follow: 4, or 3 where the first may be taken for a pad byte that is
 * missing. What has other names may be samples. */
static const char *tags_behind(wav_reader *wav, int letters)
{
    wav_tags tags = {.n = 0};
    uint8_t head[8];
    const char *problem = NULL;
    size_t n_zeros = 0;
    while (!problem && !wav->warning && take(wav, head, 8) == 8) {
        if (all_zeros(head, 8)) {
            n_zeros += 8;
            if (n_zeros < MOST_KEPT) continue;
            if (letters && !zeros_follow(wav)) wav->warning = more_follows;
            break;
        }
        if (!is_name(head, letters)) {
            wav->warning = more_follows;
            break;
        }
        letters = 0;
        const uint32_t size = get(head + 4, 4);
        const uint64_t next = wav->at + size + size % 2;
        if (is_container(head))
            wav->warning = "another WAV follows, which was not read";
        else if (is(head, "data") && size)
            wav->warning = "another chunk of samples follows, which was not read";
        else if (is(head, "LIST") && size <= MOST_KEPT)
            problem = take_list(wav, &tags, size);
        wav->at = next;
    }
    for (size_t i = 0; !problem && !wav->warning && i < tags.n; i++)
        if (!wav_set_tag(&wav->tags, tags.keys[i], tags.values[i], strlen(tags.values[i])))
            problem = no_memory;
    wav_free(&tags);
    return problem;
}

/* Says what speakers three channels or more are for. */
static const char *set_layout(wav_reader *wav, const uint8_t *format, size_t format_size)
{
    char text[8 * N_SPEAKERS] = "";
    uint32_t count = 0;
    if (wav->channels <= 2 || get(format, 2) != EXTENSIBLE || format_size < 24) return NULL;
    const uint32_t mask = get(format + 20, 4);
    for (size_t i = 0; i < N_SPEAKERS; i++) {
        if (!(mask >> i & 1)) continue;
        if (count++) strcat(text, " ");
        strcat(text, speakers[i]);
    }
    if (count != wav->channels) return NULL;
    return wav_set_tag(&wav->tags, "channels", text, strlen(text)) ? NULL : no_memory;
}

static int kind_of(const uint8_t *format, size_t format_size, wav_kind *kind)
{
    static const struct {
        uint32_t tag, bits;
        wav_kind kind;
    } kinds[] = {{PCM, 8, WAV_U8},   {PCM, 16, WAV_S16},        {PCM, 24, WAV_S24},
                 {PCM, 32, WAV_S32}, {IEEE_FLOAT, 32, WAV_F32}, {IEEE_FLOAT, 64, WAV_F64}};
    uint32_t tag = get(format, 2);
    const uint32_t channels = get(format + 2, 2), align = get(format + 12, 2);
    const uint32_t bits = get(format + 14, 2);
    if (tag == EXTENSIBLE && format_size >= 26) tag = get(format + 24, 2);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].tag == tag && kinds[i].bits == bits) {
            *kind = kinds[i].kind;
            return align == channels * bits / 8;
        }
    return 0;
}

const char *wav_open(wav_reader *wav, FILE *file)
{
    uint8_t format[40] = {0};
    size_t format_size = 0;
    uint64_t size = 0;
    uint32_t stated = 0;
    int endless = 0;
    *wav = (wav_reader){.file = file};
    if (fseeko(file, 0, SEEK_END) != 0) return "the file is not one that can be read at any place";
    const off_t end = ftello(file);
    if (end < 0) return no_read;
    wav->size = (uint64_t)end;
    const char *problem = walk(wav, format, &format_size, &size, &stated, &endless);
    if (problem) return problem;
    if (!format_size) return "a WAV that does not say its format before its samples";
    wav->channels = get(format + 2, 2);
    wav->sample_rate = get(format + 4, 4);
    wav->frame_bytes = get(format + 12, 2);
    if (!wav->channels || !wav->frame_bytes) return "a WAV of no channels";
    if (!kind_of(format, format_size, &wav->kind))
        return "a WAV of samples other than 8, 16, 24 or 32-bit integers, 32 or 64-bit floats";
    const uint64_t start = wav->at, there = wav->size - start, shown = size_shown(wav, stated);
    if (shown) {
        size = shown;
        endless = 0;
    }
    wav->claimed = (endless ? there : size) / wav->frame_bytes;
    wav->n_samples =
        there / wav->frame_bytes < wav->claimed ? there / wav->frame_bytes : wav->claimed;
    if (!endless && size < there) {
        wav->at = start + size + size % 2;
        problem = tags_behind(wav, size % 2 ? 3 : 4);
    }
    wav->at = start;
    if (!problem) problem = set_layout(wav, format, format_size);
    if (!problem && wav->n_samples == 0) problem = "no audio: 0 samples";
    if (wav->n_samples < wav->claimed) wav->warning = "cut off: samples are missing at the end";
    return problem;
}

/* As libsndfile does: integers scaled to full scale 1. */
static float sample(const uint8_t *bytes, wav_kind kind)
{
    const uint32_t low = get(bytes, kind == WAV_U8    ? 1
                                    : kind == WAV_S16 ? 2
                                    : kind == WAV_S24 ? 3
                                                      : 4);
    float value = 0.0f;
    double wide = 0.0;
    uint64_t bits;
    switch (kind) {
    case WAV_U8: return ((float)low - 128.0f) / 128.0f;
    case WAV_S16: return (float)((int32_t)(low ^ 0x8000u) - 0x8000) / 32768.0f;
    case WAV_S24: return (float)((int32_t)(low ^ 0x800000u) - 0x800000) / 8388608.0f;
    case WAV_S32: return (float)((int64_t)(low ^ 0x80000000u) - 0x80000000) / 2147483648.0f;
    case WAV_F32: memcpy(&value, &low, sizeof value); return value;
    default:
        bits = low | (uint64_t)get(bytes + 4, 4) << 32;
        memcpy(&wide, &bits, sizeof wide);
        return (float)wide;
    }
}

const char *wav_read(wav_reader *wav, float *audio, size_t n, size_t *got)
{
    const size_t channels = wav->channels, width = wav->frame_bytes / channels;
    const uint64_t left = wav->n_samples - wav->read;
    const size_t stride = n;
    *got = 0;
    if (n > left) n = (size_t)left;
    uint8_t *bytes = malloc(n * wav->frame_bytes + 1);
    if (!bytes) return no_memory;
    const size_t whole = take(wav, bytes, n * wav->frame_bytes) / wav->frame_bytes;
    const char *problem = whole < n ? no_read : NULL;
    for (size_t i = 0; i < whole && !problem; i++)
        for (size_t c = 0; c < channels; c++) {
            const float value = sample(bytes + i * wav->frame_bytes + c * width, wav->kind);
            if (!isfinite(value)) problem = "audio is not finite: it holds NaN or infinity";
            if (fabsf(value) > MAX_PEAK) problem = "audio peaks beyond 256, where full scale is 1";
            audio[c * stride + i] = value;
        }
    free(bytes);
    wav->read += n;
    *got = n;
    return problem;
}

const char *wav_write_header(FILE *file, uint32_t sample_rate, uint32_t channels,
                             uint64_t n_samples, const wav_tags *tags)
{
    const uint64_t block = 2 * (uint64_t)channels, limit = MAX_WAV_BYTES / block;
    if (n_samples > limit) return "too long for a WAV, which has at most 4 GB";
    const uint64_t size = block * n_samples;
    uint64_t list = 0;
    for (size_t i = 0; i < N_NAMES; i++)
        for (size_t k = 0; k < tags->n; k++)
            if (strcmp(tags->keys[k], info_names[i].key) == 0) {
                if (!list) list = 12;
                if (*info_names[i].name) list += 8 + (strlen(tags->values[k]) + 2) / 2 * 2;
            }
    uint8_t head[36], data[8];
    memcpy(head, "RIFF", 4);
    put(head + 4, 36 + list + size, 4);
    memcpy(head + 8, "WAVEfmt ", 8);
    put(head + 16, 16, 4);
    put(head + 20, PCM, 2);
    put(head + 22, channels, 2);
    put(head + 24, sample_rate, 4);
    put(head + 28, sample_rate * block, 4);
    put(head + 32, block, 2);
    put(head + 34, 16, 2);
    int written = fwrite(head, sizeof head, 1, file) == 1;
    if (list) {
        memcpy(head, "LIST", 4);
        put(head + 4, list - 8, 4);
        memcpy(head + 8, "INFO", 4);
        written &= fwrite(head, 12, 1, file) == 1;
    }
    for (size_t i = 0; i < N_NAMES; i++)
        for (size_t k = 0; k < tags->n; k++) {
            if (!*info_names[i].name || strcmp(tags->keys[k], info_names[i].key) != 0) continue;
            const size_t n = strlen(tags->values[k]), room = (n + 2) / 2 * 2;
            memcpy(head, info_names[i].name, 4);
            put(head + 4, room, 4);
            written &= fwrite(head, 8, 1, file) == 1;
            written &= fwrite(tags->values[k], 1, n, file) == n;
            written &= fwrite("\0", 1, room - n, file) == room - n;
        }
    memcpy(data, "data", 4);
    put(data + 4, size, 4);
    written &= fwrite(data, sizeof data, 1, file) == 1;
    return written ? NULL : no_write;
}

const char *wav_write(FILE *file, const float *audio, size_t channels, size_t stride, size_t n)
{
    uint8_t bytes[2 * 1024];
    size_t held = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < channels; c++) {
            float value = rintf(audio[c * stride + i] * 32768.0f);
            value = value < -32768.0f ? -32768.0f : value > 32767.0f ? 32767.0f : value;
            put(bytes + held, (uint64_t)(int64_t)value, 2);
            held += 2;
            if (held < sizeof bytes) continue;
            if (fwrite(bytes, 1, held, file) != held) return no_write;
            held = 0;
        }
    return fwrite(bytes, 1, held, file) == held ? NULL : no_write;
}
