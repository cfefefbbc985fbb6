package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core/record"
)

func mustEncode(t testing.TB, e *record.Encoder, b *record.Batch, watermark uint64) []byte {
	t.Helper()
	frame, err := e.Encode(b, testID, watermark)
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	return slices.Clone(frame)
}

func batches() map[string]*record.Batch {
	small := &record.Batch{Base: 9, Term: 3, Index: 5, First: -1, Last: 12}
	add(small, record.KindAck, []byte("body"))
	noise := &record.Batch{Base: 1 << 40, Sync: true}
	random := make([]byte, 4000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	add(noise, record.KindMessage, random)
	return map[string]*record.Batch{
		"empty": {Base: 4, Term: 1, Index: 2}, "sparse": sparse(), "hole": {Base: 5, Until: 1 << 20, Term: 9},
		"small": small, "incompressible": noise, "telemetry": telemetryBatch(200),
	}
}

// sparse is a batch with gaps before, between and behind its records.
func sparse() *record.Batch {
	from := &record.Batch{Base: 100, First: 1000}
	for i := range 40 {
		add(from, record.KindMessage, fmt.Appendf(nil, "record %d of forty, of which few are left", i))
	}
	b := &record.Batch{}
	b.ResetSparse(90)
	for _, i := range []int{0, 1, 2, 9, 30, 39} {
		from.First = 1000 + int64(i*i)
		if i == 9 {
			from.First = -5
		}
		if err := b.Take(from, i); err != nil {
			panic(err)
		}
	}
	if err := b.Cover(500); err != nil {
		panic(err)
	}
	b.Term, b.Sync = 4, true
	return b
}

func TestFrameRoundTrip(t *testing.T) {
	for name, b := range batches() {
		for _, zstd := range []bool{false, true} {
			e := record.Encoder{Zstd: zstd}
			frame := mustEncode(t, &e, b, 77)
			h, err := record.DecodeHeader(frame, testID)
			if err != nil {
				t.Fatalf("%s: DecodeHeader: %v", name, err)
			}
			if h.Watermark != 77 || h.Base != b.Base || h.Count != b.Len() || h.Next() != b.Next() || h.Size() != len(frame) || h.Mark {
				t.Errorf("%s: header %+v of frame of %d bytes", name, h, len(frame))
			}
			var got record.Batch
			n, err := record.DecodeFrame(append(frame, "next frame"...), testID, &got)
			if err != nil || n != len(frame) {
				t.Fatalf("%s: DecodeFrame: got %d, %v, want %d", name, n, err, len(frame))
			}
			if diff := cmp.Diff(b, &got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: decoded batch (-want +got):\n%s", name, diff)
			}
			if again := mustEncode(t, &e, &got, 77); !bytes.Equal(again, frame) {
				t.Errorf("%s: frame of the decoded batch differs", name)
			}
		}
	}
}

func TestFrameCodecChoice(t *testing.T) {
	all := batches()
	for _, tc := range []struct {
		batch string
		zstd  bool
		want  record.Codec
	}{
		{"empty", false, record.CodecNone},
		{"small", true, record.CodecNone},
		{"incompressible", false, record.CodecNone},
		{"incompressible", true, record.CodecNone},
		{"telemetry", false, record.CodecS2},
		{"telemetry", true, record.CodecZstd},
	} {
		e := record.Encoder{Zstd: tc.zstd}
		h, err := record.DecodeHeader(mustEncode(t, &e, all[tc.batch], 0), testID)
		if err != nil || h.Codec != tc.want {
			t.Errorf("%s, zstd %v: got codec %d, %v, want %d", tc.batch, tc.zstd, h.Codec, err, tc.want)
		}
	}
}

func TestMark(t *testing.T) {
	var e record.Encoder
	frame := e.EncodeMark(99, testID, 4096)
	h, err := record.DecodeHeader(frame, testID)
	if err != nil || !h.Mark || h.Base != 99 || h.Watermark != 4096 || h.Size() != len(frame) {
		t.Fatalf("DecodeHeader of a mark: %+v, %v", h, err)
	}
	b := telemetryBatch(3)
	if n, err := record.DecodeFrame(frame, testID, b); err != nil || n != len(frame) || b.Len() != 0 || b.Base != 99 {
		t.Errorf("DecodeFrame of a mark: %d, %v, batch of %d at %d", n, err, b.Len(), b.Base)
	}
}

func TestFrameEveryBitFlip(t *testing.T) {
	var e record.Encoder
	frame := mustEncode(t, &e, telemetryBatch(5), 64)
	var b record.Batch
	for bit := range 8 * len(frame) {
		frame[bit/8] ^= 1 << (bit % 8)
		if _, err := record.DecodeFrame(frame, testID, &b); !errors.Is(err, record.ErrCorrupt) {
			t.Fatalf("bit %d flipped: got %v, want ErrCorrupt", bit, err)
		}
		frame[bit/8] ^= 1 << (bit % 8)
	}
}

func TestFrameEveryLength(t *testing.T) {
	var e record.Encoder
	frame := mustEncode(t, &e, telemetryBatch(5), 64)
	var b record.Batch
	for n := range frame {
		if _, err := record.DecodeFrame(frame[:n], testID, &b); !errors.Is(err, record.ErrShort) {
			t.Fatalf("%d of %d bytes: got %v, want ErrShort", n, len(frame), err)
		}
	}
}

func TestFrameOfAnotherLog(t *testing.T) {
	var e record.Encoder
	frame := mustEncode(t, &e, telemetryBatch(2), 0)
	other, shard := testID, testID
	other.Cluster[15]++
	shard.Shard++
	for _, id := range []record.Identity{other, shard} {
		if _, err := record.DecodeHeader(frame, id); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("header with identity %v: got %v, want ErrCorrupt", id, err)
		}
	}
}

// TestFrameVersion checks that a sound header of another version is told from
// a damaged version byte.
func TestFrameVersion(t *testing.T) {
	var e record.Encoder
	frame := mustEncode(t, &e, telemetryBatch(2), 0)
	frame[4] = 3
	if _, err := record.DecodeHeader(frame, testID); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("damaged version byte: got %v, want ErrCorrupt", err)
	}
	binary.LittleEndian.PutUint32(frame[76:], testID.Checksum(frame[:76]))
	if _, err := record.DecodeHeader(frame, testID); !errors.Is(err, record.ErrVersion) {
		t.Errorf("later version: got %v, want ErrVersion", err)
	}
	copy(frame, "TGxx")
	if _, err := record.DecodeHeader(frame, testID); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("other magic: got %v, want ErrCorrupt", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	var e record.Encoder
	for name, b := range map[string]*record.Batch{
		"open record":    {Raw: []byte("abc"), Ends: []uint32{2}},
		"fewer LSNs":     {Raw: []byte("abc"), Ends: []uint32{3}, Until: 3},
		"LSN behind":     {Raw: []byte("abc"), Ends: []uint32{3}, Until: 3, Sparse: []uint32{3}},
		"LSN twice":      {Raw: []byte("abc"), Ends: []uint32{1, 3}, Until: 9, Sparse: []uint32{3, 3}},
		"fewer times":    {Raw: []byte("abc"), Ends: []uint32{1, 3}, Until: 9, Sparse: []uint32{3, 4}, Times: []int64{1}},
		"indexed sparse": {Raw: []byte("abc"), Ends: []uint32{3}, Until: 3, Sparse: []uint32{1}, Index: 1},
		"end behind raw": {Raw: []byte("abc"), Ends: []uint32{4}},
		"empty record":   {Raw: []byte("abc"), Ends: []uint32{2, 2, 3}},
	} {
		if _, err := e.Encode(b, testID, 0); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	big := &record.Batch{Raw: make([]byte, record.MaxRaw+1), Ends: []uint32{record.MaxRaw + 1}}
	if _, err := e.Encode(big, testID, 0); !errors.Is(err, record.ErrTooLarge) {
		t.Errorf("batch above the limit: got %v, want ErrTooLarge", err)
	}
}

// forge builds a frame with sound checksums around any fields and payload.
func forge(header, stored []byte) []byte {
	frame := make([]byte, record.HeaderSize, record.HeaderSize+len(stored))
	copy(frame, header)
	copy(frame, record.FrameMagic)
	frame[4] = 1
	frame = append(frame, stored...)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(testID.Checksum(frame[:72]), castagnoli, stored)
	binary.LittleEndian.PutUint32(frame[72:], sum)
	binary.LittleEndian.PutUint32(frame[76:], testID.Checksum(frame[:76]))
	return frame
}

// reseal makes a forged frame one of another version.
func reseal(frame []byte, version byte) {
	frame[4] = version
	sum := crc32.Update(testID.Checksum(frame[:72]), crc32.MakeTable(crc32.Castagnoli), frame[record.HeaderSize:])
	binary.LittleEndian.PutUint32(frame[72:], sum)
	binary.LittleEndian.PutUint32(frame[76:], testID.Checksum(frame[:76]))
}

// TestDecodeForged decodes frames whose checksums are right and whose lengths lie.
func TestDecodeForged(t *testing.T) {
	header := func(codec byte, count, raw, table, stored uint32) []byte {
		p := make([]byte, record.HeaderSize)
		p[5] = codec
		for i, v := range []uint32{count, raw, table, stored} {
			binary.LittleEndian.PutUint32(p[32+4*i:], v)
		}
		return p
	}
	sound := forge(header(0, 1, 4, 1, 4), []byte("\x01ab\x03"))
	var b record.Batch
	if _, err := record.DecodeFrame(sound, testID, &b); err != nil || b.Len() != 1 {
		t.Fatalf("sound forged frame: %v", err)
	}
	for name, frame := range map[string][]byte{
		"raw above the limit":    forge(header(1, 1, record.MaxRaw+1, 1, 4), []byte("abcd")),
		"more stored than raw":   forge(header(1, 1, 3, 1, 4), []byte("abcd")),
		"more records than raw":  forge(header(0, 5, 4, 1, 4), []byte("\x01ab\x03")),
		"table above raw":        forge(header(0, 1, 4, 5, 4), []byte("\x01ab\x03")),
		"records without count":  forge(header(0, 0, 4, 1, 4), []byte("\x01ab\x03")),
		"unknown codec":          forge(header(9, 1, 40, 1, 4), []byte("\x01ab\x03")),
		"record of no length":    forge(header(0, 2, 5, 2, 5), []byte("\x01ab\x03\x00")),
		"lengths below the raw":  forge(header(0, 1, 4, 1, 4), []byte("\x01ab\x02")),
		"lengths above the raw":  forge(header(0, 1, 4, 1, 4), []byte("\x01ab\x04")),
		"endless varint":         forge(header(0, 1, 4, 1, 4), []byte("\x01ab\xff")),
		"s2 of another length":   forge(header(1, 1, 1<<28, 1, 4), []byte("\x04\x0cab")),
		"s2 of garbage":          forge(header(1, 1, 9, 1, 4), []byte("\x09\xff\xff\xff")),
		"zstd of garbage":        forge(header(2, 1, 9, 1, 4), []byte("\x28\xb5\x2f\xfd")),
		"zstd skippable forever": forge(header(2, 1, 90, 1, 8), []byte("\x50\x2a\x4d\x18\x00\x00\x00\x00")),
	} {
		if _, err := record.DecodeFrame(frame, testID, &b); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
		if b.Len() != 0 || len(b.Raw) != 0 {
			t.Errorf("%s: a refused frame left %d records", name, b.Len())
		}
	}
}

// TestDecodeForgedSparse is TestDecodeForged for frames with gaps.
func TestDecodeForgedSparse(t *testing.T) {
	build := func(base, until uint64, count, table uint32, stored string) []byte {
		p := make([]byte, record.HeaderSize)
		binary.LittleEndian.PutUint64(p[16:], until)
		binary.LittleEndian.PutUint64(p[24:], base)
		for i, v := range []uint32{count, uint32(len(stored)), table, uint32(len(stored))} {
			binary.LittleEndian.PutUint32(p[32+4*i:], v)
		}
		frame := forge(p, []byte(stored))
		reseal(frame, 2)
		return frame
	}
	var b record.Batch
	sound := build(10, 14, 2, 6, "\x01a\x01b\x02\x02\x01\x01\x00\x04")
	if _, err := record.DecodeFrame(sound, testID, &b); err != nil {
		t.Fatal(err)
	}
	if b.LSN(0) != 11 || b.LSN(1) != 13 || b.Next() != 14 || b.Time(1) != 2 {
		t.Fatalf("sound forged frame: %+v", b)
	}
	for name, frame := range map[string][]byte{
		"record behind the range":  build(10, 13, 2, 6, "\x01a\x01b\x02\x02\x01\x01\x00\x04"),
		"range without an LSN":     build(10, 10, 2, 6, "\x01a\x01b\x02\x02\x01\x01\x00\x04"),
		"range backwards":          build(10, 9, 2, 6, "\x01a\x01b\x02\x02\x01\x01\x00\x04"),
		"range too long":           build(10, 10+1<<32, 2, 6, "\x01a\x01b\x02\x02\x01\x01\x00\x04"),
		"gap of a whole turn":      build(10, 14, 1, 12, "\x01a\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"),
		"without a time table":     build(10, 14, 2, 4, "\x01a\x01b\x02\x02\x01\x01"),
		"with bytes behind tables": build(10, 14, 2, 7, "\x01a\x01b\x02\x02\x01\x01\x00\x04\x00"),
	} {
		if _, err := record.DecodeFrame(frame, testID, &b); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
		if b.Len() != 0 || len(b.Raw) != 0 || b.Until != 0 {
			t.Errorf("%s: a refused frame left %+v", name, b)
		}
	}
}

func FuzzFrame(f *testing.F) {
	var e record.Encoder
	for _, b := range batches() {
		frame := mustEncode(f, &e, b, 1)
		f.Add(frame[:record.HeaderSize], frame[record.HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, header, stored []byte) {
		var b, again record.Batch
		// As it is, which the checksum mostly refuses, and with sound checksums.
		plain := append(slices.Clone(header), stored...)
		if _, err := record.DecodeFrame(plain, testID, &b); err != nil && b.Len() != 0 {
			t.Fatalf("a refused frame left records")
		}
		frame := forge(header, stored)
		if len(header) > 4 && header[4] == 2 {
			reseal(frame, 2)
		}
		if h, err := record.DecodeHeader(frame, testID); err == nil && h.Raw > 1<<20 {
			t.Skip("legal, and too large to try often")
		}
		n, err := record.DecodeFrame(frame, testID, &b)
		if err != nil {
			return
		}
		if n > len(frame) || cap(b.Raw) > record.MaxRaw+record.MaxRaw/4 {
			t.Fatalf("frame of %d bytes: took %d, holds %d", len(frame), n, cap(b.Raw))
		}
		for i := range b.Len() {
			b.Record(i)
		}
		var enc record.Encoder
		frame, err = enc.Encode(&b, testID, 0)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		if _, err := record.DecodeFrame(frame, testID, &again); err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		if !bytes.Equal(b.Raw, again.Raw) || !slices.Equal(b.Ends, again.Ends) || b.Base != again.Base ||
			b.Until != again.Until || !slices.Equal(b.Sparse, again.Sparse) || !slices.Equal(b.Times, again.Times) ||
			b.Term != again.Term || b.Index != again.Index || b.First != again.First || b.Last != again.Last || b.Sync != again.Sync {
			t.Fatalf("decode of encode differs: got %+v, want %+v", again, b)
		}
	})
}
