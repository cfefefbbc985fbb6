package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitServer is the program of Debian's rabbitmq-server that runs in the
// foreground as whoever starts it.
const rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// startRabbitMQ runs RabbitMQ from Debian on ports and in a folder of its own until
// the test ends. With the addresses of a running one in TIDEGATE_E2E_RABBITMQ, AMQP
// and management with a comma between them, it is that one.
func startRabbitMQ(t *testing.T) contender {
	t.Helper()
	switch which := os.Getenv("TIDEGATE_E2E_RABBITMQ"); {
	case which == "":
		t.Skip("starts RabbitMQ; set TIDEGATE_E2E_RABBITMQ=1")
	case which != "1":
		amqpAddr, httpAddr, _ := strings.Cut(which, ",")
		return contender{side: "R", amqp: amqpAddr, http: httpAddr}
	}
	if _, err := os.Stat(rabbitServer); err != nil {
		missing(t, "rabbitmq-server", err)
	}
	r := &rabbit{t: t, dir: t.TempDir(), log: newTailBuffer(64 << 10)}
	with := contender{side: "R", amqp: freeAddr(t), http: freeAddr(t)}
	r.configure(with)
	t.Cleanup(r.stop)
	r.run("epmd", "-port", r.epmd, "-address", "127.0.0.1")
	// Without a limit of its own the runtime closes a billion files one by one.
	r.run("sh", "-c", "ulimit -n 4096 && exec "+rabbitServer)
	eventuallyWithin(t, 4*patience, "RabbitMQ serves", func() bool {
		conn, err := amqp.Dial(amqpURL(with.amqp))
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return with
}

// rabbit is RabbitMQ with the daemon that its runtime needs.
type rabbit struct {
	t     *testing.T
	dir   string
	epmd  string // port
	env   []string
	log   *tailBuffer
	procs []*exec.Cmd // in the order of their start
}

// configure writes the files of a small node that takes the addresses.
func (r *rabbit) configure(with contender) {
	r.t.Helper()
	port := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			r.t.Fatal(err)
		}
		return port
	}
	r.epmd = port(freeAddr(r.t))
	config := fmt.Sprintf("listeners.tcp.1 = %s\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %s\n"+
		"vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 10MB\nlog.console = true\nlog.file = false\n",
		with.amqp, port(with.http))
	plugins := "[rabbitmq_management,rabbitmq_consistent_hash_exchange,rabbitmq_random_exchange,rabbitmq_sharding]."
	for name, text := range map[string]string{"rabbitmq.conf": config, "enabled_plugins": plugins} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.env = append(os.Environ(), "HOME="+r.dir, "ERL_EPMD_PORT="+r.epmd, "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_NODENAME=tidegate-e2e@localhost", "RABBITMQ_BASE="+r.dir,
		"RABBITMQ_MNESIA_BASE="+r.dir+"/mnesia", "RABBITMQ_LOG_BASE="+r.dir+"/log", "RABBITMQ_PID_FILE="+r.dir+"/pid",
		"RABBITMQ_CONFIG_FILE="+r.dir+"/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE="+r.dir+"/enabled_plugins",
		"RUNNING_UNDER_SYSTEMD=true", // so that the script becomes the server instead of a shell above it
		"RABBITMQ_DIST_PORT="+port(freeAddr(r.t)),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}")
}

func (r *rabbit) run(name string, args ...string) {
	r.t.Helper()
	cmd := exec.Command(needsProgram(r.t, name), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = r.env, r.log, r.log
	cmd.SysProcAttr = dieWithParent()
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		r.t.Fatalf("start %s: %v", name, err)
	}
	r.procs = append(r.procs, cmd)
}

// stop ends the processes, the last one first; the data is of no use to anyone.
func (r *rabbit) stop() {
	for i := range r.procs {
		cmd := r.procs[len(r.procs)-1-i]
		cmd.Process.Kill()
		cmd.Wait()
	}
	if r.t.Failed() {
		r.t.Logf("log of RabbitMQ (its end):\n%s", r.log)
	}
}
