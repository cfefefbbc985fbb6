package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidegate.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigPrecedence(t *testing.T) {
	file := writeFile(t, `
data: /from/yaml
log_level: warn
listen:
  mqtt: ["127.0.0.1:1"]
  amqp: ["127.0.0.1:2"]
  http: []
gateway:
  drain_timeout: 1m
  tls:
mqtt:
  window: 7
`)
	t.Setenv("TIDEGATE_DATA", "/from/env")
	t.Setenv("TIDEGATE_LISTEN_AMQP", "127.0.0.1:3, [::1]:3")
	t.Setenv("TIDEGATE_GATEWAY_METRICS_LOOPBACK", "false")
	t.Setenv("TIDEGATE_CORE_SHARDS", "4")
	t.Setenv("TIDEGATE_AMQP_HEARTBEAT", "30s")
	t.Setenv("TIDEGATE_SERVICE_HOST", "10.0.0.1") // of an orchestrator: none of ours
	data, shards := "/from/flag", 3
	cfg, err := loadConfig(&settings{
		Config: file, Data: &data, Shards: &shards, AMQP: []string{"127.0.0.1:4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Data = "/from/flag"
	want.LogLevel = "warn"
	want.Listen.MQTT = []string{"127.0.0.1:1"}
	want.Listen.AMQP = []string{"127.0.0.1:4"}
	want.Listen.HTTP = []string{}
	want.Gateway.DrainTimeout = time.Minute
	want.Gateway.MetricsLoopback = false
	want.Core.Shards = 3
	want.MQTT.Window = 7
	want.AMQP.Heartbeat = 30 * time.Second
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestConfigEnvLists(t *testing.T) {
	t.Setenv("TIDEGATE_LISTEN_MQTT", "127.0.0.1:3, [::1]:3")
	t.Setenv("TIDEGATE_AUTH_LOOPBACK_USERS", "")
	cfg, err := loadConfig(&settings{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"127.0.0.1:3", "[::1]:3"}, cfg.Listen.MQTT); diff != "" {
		t.Errorf("listen.mqtt (-want +got):\n%s", diff)
	}
	if len(cfg.Auth.LoopbackUsers) != 0 {
		t.Errorf("auth.loopback_users is %v, want none", cfg.Auth.LoopbackUsers)
	}
}

func TestConfigFileFromEnv(t *testing.T) {
	t.Setenv("TIDEGATE_CONFIG", writeFile(t, "data: /here\n"))
	cfg, err := loadConfig(&settings{})
	if err != nil || cfg.Data != "/here" {
		t.Errorf("got data %q, %v; want /here", cfg.Data, err)
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"unknown key":           {"dat: x", "line 1: unknown key dat"},
		"unknown key, deep":     {"gateway:\n  tls:\n    certs: x", "line 3: unknown key gateway.tls.certs"},
		"key twice":             {"data: x\ndata: y", "line 2: key data comes twice"},
		"section is a scalar":   {"gateway: 5", "gateway"},
		"document is a list":    {"- data", "no keys and values"},
		"two documents":         {"data: x\n---\ndata: y", "more than one"},
		"no YAML":               {"data: [", "yaml"},
		"duration without unit": {"gateway: {drain_timeout: 5}", "drain_timeout"},
		"number is text":        {"core: {shards: many}", "core.shards"},
		"number overflows":      {"mqtt: {window: 70000}", "mqtt.window"},
		"log level":             {"log_level: loud", "log_level"},
		"log format":            {"log_format: xml", "log_format"},
		"address":               {"listen: {mqtt: [here]}", "listen.mqtt"},
		"user without pass":     {"default_user: boss", "default_pass"},
		"cluster":               {"metadata: {cluster: \"\"}", "cluster"},
		"tls key missing":       {"gateway: {tls: {cert: x}}", "tls"},
		"core limit":            {"core: {shards: -1}", "shards"},
		"mqtt limit":            {"mqtt: {window: 0}", "window"},
		"amqp limit":            {"amqp: {frame_max: 1}", "frame_max"},
	} {
		_, err := loadConfig(&settings{Config: writeFile(t, tc.yaml)})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error about %q", name, err, tc.want)
		}
		if _, ok := errors.AsType[*usageError](err); !ok {
			t.Errorf("%s: the error is no usage error", name)
		}
	}
	if _, err := loadConfig(&settings{Config: "/does/not/exist"}); err == nil {
		t.Error("a missing file is accepted")
	}
}

func TestConfigRefusesEnv(t *testing.T) {
	for name, value := range map[string]string{
		"TIDEGATE_CORE_SHARDS": "many", "TIDEGATE_GATEWAY_METRICS_LOOPBACK": "perhaps",
		"TIDEGATE_GATEWAY_DRAIN_TIMEOUT": "5", "TIDEGATE_MQTT_WINDOW": "70000",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := loadConfig(&settings{}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%s: got %v, want an error that names it", name, value, err)
			}
		})
	}
}

func TestEmptyConfigFile(t *testing.T) {
	cfg, err := loadConfig(&settings{Config: writeFile(t, "# nothing yet\n")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaultConfig(), cfg); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// TestConfigPrint prints a configuration, reads it again and gets the same.
func TestConfigPrint(t *testing.T) {
	t.Setenv("TIDEGATE_DEFAULT_USER", "boss")
	t.Setenv("TIDEGATE_DEFAULT_PASS", "s3cret")
	var first, again, stderr bytes.Buffer
	if err := run(t.Context(), []string{"config", "print", "--mqtt", "127.0.0.1:0", "--mqtt", "[::1]:0"}, &first, &stderr); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(first.String(), "s3cret") || !strings.Contains(first.String(), "***") {
		t.Errorf("the printed configuration shows the password:\n%s", first.String())
	}
	if err := run(t.Context(), []string{"config", "print", "--config", writeFile(t, first.String())}, &again, &stderr); err != nil {
		t.Fatalf("read what was printed: %v", err)
	}
	if diff := cmp.Diff(first.String(), again.String()); diff != "" {
		t.Errorf("printed again (-first +again):\n%s", diff)
	}
}
