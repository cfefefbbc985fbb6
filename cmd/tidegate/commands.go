package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/tidegate/tidegate/cmd/tidegate/bench"
)

// commands is the command line.
type commands struct {
	Serve      serveCommand       `cmd:"" help:"Run the broker."`
	Health     healthCommand      `cmd:"" help:"Ask a running broker whether it is ready; exit 0 if it is."`
	User       userCommands       `cmd:"" help:"Look after users."`
	Permission permissionCommands `cmd:"" help:"Look after what users may do."`
	Vhost      vhostCommands      `cmd:"" help:"Look after virtual hosts, which are namespaces."`
	Pressure   pressureCommands   `cmd:"" help:"Look after the marks of memory and disk from which on publishers wait."`
	Queue      queueCommands      `cmd:"" help:"Look after queues that the metadata lost."`
	Check      checkCommand       `cmd:"" help:"Check the data directory of a broker that does not run."`
	Segment    segmentCommands    `cmd:"" help:"Look into the files of a log."`
	Config     configCommands     `cmd:"" help:"Show the configuration."`
	Bench      bench.Command      `cmd:"" help:"Measure a broker: rate, latency, loss, order, processor time."`
	Version    versionCommand     `cmd:"" help:"Print the version."`
}

// console is where commands print, and where they ask.
type console struct {
	stdout, stderr io.Writer
	stdin          io.Reader
}

// settings are the flags that override the configuration.
type settings struct {
	Config        string   `help:"YAML file to read (TIDEGATE_CONFIG)." placeholder:"FILE" type:"path"`
	Data          *string  `help:"Directory of the log and of the embedded etcd." placeholder:"DIR"`
	MQTT          []string `help:"Address of MQTT; may be repeated. Port 0 takes a free one." name:"mqtt" placeholder:"HOST:PORT" sep:"none"`
	MQTTWS        []string `help:"Address of MQTT over WebSocket; may be repeated." name:"mqtt-ws" placeholder:"HOST:PORT" sep:"none"`
	AMQP          []string `help:"Address of AMQP 0-9-1; may be repeated." name:"amqp" placeholder:"HOST:PORT" sep:"none"`
	HTTP          []string `help:"Address of health, metrics and the HTTP API; may be repeated." name:"http" placeholder:"HOST:PORT" sep:"none"`
	EtcdEndpoints []string `help:"Endpoints of an etcd cluster, instead of the embedded one." placeholder:"URL"`
	Shards        *int     `help:"Number of shards, fixed when the data directory is created; 0 chooses." placeholder:"N"`
	LogLevel      *string  `help:"debug, info, warn or error." placeholder:"LEVEL"`
}

// apply sets what flags were given.
func (s *settings) apply(c *Config) {
	setIf(&c.Data, s.Data)
	setIf(&c.LogLevel, s.LogLevel)
	setIf(&c.Core.Shards, s.Shards)
	for _, list := range []struct {
		to   *[]string
		from []string
	}{
		{&c.Listen.MQTT, s.MQTT},
		{&c.Listen.MQTTWS, s.MQTTWS},
		{&c.Listen.AMQP, s.AMQP},
		{&c.Listen.HTTP, s.HTTP},
		{&c.Metadata.Endpoints, s.EtcdEndpoints},
	} {
		if len(list.from) > 0 {
			*list.to = list.from
		}
	}
}

func setIf[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// configCommands are the commands about the configuration.
type configCommands struct {
	Print printCommand `cmd:"" help:"Print the effective configuration as YAML, without secrets."`
}

// printCommand prints the effective configuration.
type printCommand struct {
	settings
}

// Run prints.
func (c *printCommand) Run(con *console) error {
	cfg, err := loadConfig(&c.settings)
	if err != nil {
		return err
	}
	text, err := encodeYAML(&cfg)
	if err != nil {
		return err
	}
	_, err = con.stdout.Write(text)
	return err
}

// version is set by the linker for releases.
var version = ""

// versionCommand prints the version.
type versionCommand struct{}

// Run prints.
func (versionCommand) Run(con *console) error {
	_, err := fmt.Fprintf(con.stdout, "tidegate %s %s %s/%s\n", versionName(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// versionName returns the release, or what the build knows of its source.
func versionName() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
