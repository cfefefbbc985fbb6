package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  uint64
	}{
		{"nothing tells", nil, 0},
		{"machine", map[string]string{"proc/meminfo": "MemTotal:  2048 kB\nMemFree: 1 kB\n"}, 2 << 20},
		{"cgroup v2", map[string]string{
			"proc/meminfo": "MemTotal:  2048 kB\n", "proc/self/cgroup": "0::/a/b\n",
			"cgroup/a/b/memory.max": "1048576\n", "cgroup/a/memory.max": "max\n",
		}, 1 << 20},
		{"the one above is smaller", map[string]string{
			"proc/meminfo": "MemTotal:  2048 kB\n", "proc/self/cgroup": "0::/a/b\n",
			"cgroup/a/b/memory.max": "1048576\n", "cgroup/a/memory.max": "524288\n",
		}, 1 << 19},
		{"in a container", map[string]string{
			"proc/meminfo": "MemTotal:  2048 kB\n", "proc/self/cgroup": "0::/\n", "cgroup/memory.max": "4096\n",
		}, 4096},
		{"cgroup v1", map[string]string{
			"proc/meminfo":                          "MemTotal:  2048 kB\n",
			"proc/self/cgroup":                      "5:cpu:/other\n4:memory:/a\n",
			"cgroup/memory/a/memory.limit_in_bytes": "8192\n", "cgroup/memory/other/memory.limit_in_bytes": "1\n",
		}, 8192},
		{"cgroup v1 without a limit", map[string]string{
			"proc/meminfo": "MemTotal:  2048 kB\n", "proc/self/cgroup": "4:memory:/a\n",
			"cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
		}, 2 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := memoryLimit(filepath.Join(dir, "proc"), filepath.Join(dir, "cgroup")); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	if memoryInUse() < 1<<20 {
		t.Error("this process has less than 1 MiB")
	}
}
