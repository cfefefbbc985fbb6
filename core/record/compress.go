package record

import (
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// minCompress is the payload below which compression is not tried: the few
// bytes to win are not worth the call, nor the decoding later.
const minCompress = 512

// pack appends the stored form of the payload to dst and tells its codec. The
// payload stays as it is unless an eighth of it is saved.
func pack(dst, payload []byte, smaller bool) ([]byte, Codec, error) {
	if len(payload) < minCompress {
		return append(dst, payload...), CodecNone, nil
	}
	start, codec := len(dst), CodecS2
	if smaller {
		enc, err := zstdEncoder()
		if err != nil {
			return dst, CodecNone, fmt.Errorf("zstd encoder: %w", err)
		}
		dst, codec = enc.EncodeAll(payload, dst), CodecZstd
	} else {
		dst = slices.Grow(dst, s2.MaxEncodedLen(len(payload)))
		block := s2.Encode(dst[start:cap(dst)], payload)
		dst = dst[:start+len(block)]
	}
	if len(dst)-start > len(payload)-len(payload)/8 {
		return append(dst[:start], payload...), CodecNone, nil
	}
	return dst, codec, nil
}

// unpack decodes a stored payload of raw bytes into dst, which is reused. It
// allocates no more than raw bytes, whatever the payload says of itself.
func unpack(dst, stored []byte, codec Codec, raw int) ([]byte, error) {
	dst = slices.Grow(dst[:0], raw)
	switch codec {
	case CodecNone:
		return append(dst, stored...), nil
	case CodecS2:
		if n, err := s2.DecodedLen(stored); err != nil || n != raw {
			return dst, fmt.Errorf("s2 length %d of %d: %w", n, raw, ErrCorrupt)
		}
		out, err := s2.Decode(dst[:raw], stored)
		if err != nil {
			return dst, fmt.Errorf("s2 payload (%w): %w", err, ErrCorrupt)
		}
		return out, nil
	case CodecZstd:
		dec, err := zstdDecoder()
		if err != nil {
			return dst, fmt.Errorf("zstd decoder: %w", err)
		}
		out, err := dec.DecodeAll(stored, dst[:0:raw])
		if err != nil {
			return dst, fmt.Errorf("zstd payload (%w): %w", err, ErrCorrupt)
		}
		if len(out) != raw {
			return dst, fmt.Errorf("zstd length %d of %d: %w", len(out), raw, ErrCorrupt)
		}
		return dst[:raw], nil // that is out, with all of the buffer's capacity
	}
	return dst, fmt.Errorf("codec %d: %w", codec, ErrCorrupt)
}

// One coder of each sort serves all: EncodeAll and DecodeAll are safe for
// concurrent use, run in the caller's goroutine and start none of their own.
var (
	zstdEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithWindowSize(1<<20))
	})
	zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxRaw), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxWindow(1<<20))
	})
)
