package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// readyFile tells other programs where a running broker serves: the first
// address of each endpoint, "" for one that is off.
type readyFile struct {
	MQTT   string `json:"mqtt"`
	MQTTWS string `json:"mqtt_ws"`
	AMQP   string `json:"amqp"`
	HTTP   string `json:"http"`
	PID    int    `json:"pid"`
}

// write puts the file in place in one step: readers see all of it or nothing.
func (r readyFile) write(path string) (err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to tell
		}
	}()
	_, err = f.Write(append(text, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}
