package record_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core/record"
)

var update = flag.Bool("update", false, "write the golden files of the present version")

// golden compares with a golden file, or writes it.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	version := "v1"
	if strings.Contains(name, "-sparse-") || strings.Contains(name, "-hole-") {
		version = "v2"
	}
	path := filepath.Join("testdata", version, name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// TestGoldenFrames checks that versions 1 and 2 are read, and without a codec
// also written, byte for byte. Compressed frames are only read: a codec's output may
// change with its release.
func TestGoldenFrames(t *testing.T) {
	for name, b := range batches() {
		for codec, e := range map[string]*record.Encoder{"s2": {}, "zstd": {Zstd: true}} {
			if name != "telemetry" && codec == "zstd" {
				continue
			}
			frame := mustEncode(t, e, b, 1<<20)
			want := golden(t, "frame-"+name+"-"+codec+".bin", frame)
			var got record.Batch
			if n, err := record.DecodeFrame(want, testID, &got); err != nil || n != len(want) {
				t.Fatalf("%s: decode golden frame: %d, %v", name, n, err)
			}
			if diff := cmp.Diff(b, &got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: golden frame (-want +got):\n%s", name, diff)
			}
			if name != "telemetry" && !bytes.Equal(frame, want) {
				t.Errorf("%s: encoded frame differs from the golden file", name)
			}
		}
	}
	var e record.Encoder
	if mark := e.EncodeMark(77, testID, 8192); !bytes.Equal(mark, golden(t, "frame-mark.bin", mark)) {
		t.Error("encoded mark differs from the golden file")
	}
}

func TestGoldenMessages(t *testing.T) {
	for name, m := range messages() {
		if name == "large" {
			continue
		}
		body := record.AppendMessage(nil, &m)
		if want := golden(t, "message-"+name+".bin", body); !bytes.Equal(body, want) {
			t.Errorf("%s: got\n%x, want\n%x", name, body, want)
		}
	}
}
