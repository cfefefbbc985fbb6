package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// envPrefix begins the name of every environment variable that is read.
const envPrefix = "TIDEGATE_"

// loadConfig composes the configuration: defaults, then the YAML file, then
// the environment, then the flags; a later one wins.
func loadConfig(flags *settings) (Config, error) {
	cfg := defaultConfig()
	file := flags.Config
	if file == "" {
		file = os.Getenv(envPrefix + "CONFIG")
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return Config{}, &usageError{fmt.Errorf("read configuration: %w", err)}
		}
		if err := decodeYAML(text, &cfg); err != nil {
			return Config{}, &usageError{fmt.Errorf("read configuration %s: %w", file, err)}
		}
	}
	if err := applyEnv(&cfg, os.LookupEnv); err != nil {
		return Config{}, &usageError{err}
	}
	flags.apply(&cfg)
	if err := cfg.validate(); err != nil {
		return Config{}, &usageError{fmt.Errorf("configuration: %w", err)}
	}
	return cfg, nil
}

// applyEnv sets what the environment gives. Variables that are not known are
// left alone: orchestrators set some of their own under any prefix.
func applyEnv(cfg *Config, lookup func(string) (string, bool)) error {
	for _, s := range settingsOf(cfg) {
		text, ok := lookup(s.env())
		if !ok {
			continue
		}
		if err := s.set(text); err != nil {
			return fmt.Errorf("%s: %w", s.env(), err)
		}
	}
	return nil
}

// decodeYAML sets what the text gives. A key that does not exist or comes
// twice is an error.
func decodeYAML(text []byte, cfg *Config) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF): // an empty file sets nothing
		return nil
	case err != nil:
		return err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	return decodeMapping(doc.Content[0], "", reflect.ValueOf(cfg).Elem())
}

// decodeMapping sets the fields of the struct that the mapping names.
func decodeMapping(n *yaml.Node, prefix string, v reflect.Value) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" { // a section with nothing in it
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s holds no keys and values", n.Line, prefix)
	}
	fields := fieldsOf(v)
	var seen []string
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		key := prefix + name.Value
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == name.Value })
		switch {
		case at < 0:
			return fmt.Errorf("line %d: unknown key %s", name.Line, key)
		case slices.Contains(seen, name.Value):
			return fmt.Errorf("line %d: key %s comes twice", name.Line, key)
		}
		seen = append(seen, name.Value)
		f := fields[at]
		var err error
		if f.section {
			err = decodeMapping(value, key+".", f.value)
		} else if err = value.Decode(f.value.Addr().Interface()); err != nil {
			err = fmt.Errorf("%s: %w", key, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// encodeYAML returns the configuration as YAML, with secrets as "***".
func encodeYAML(cfg *Config) ([]byte, error) {
	doc, err := encodeMapping(reflect.ValueOf(cfg).Elem())
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(doc), enc.Close()); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return text.Bytes(), nil
}

func encodeMapping(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v) {
		value := new(yaml.Node)
		var err error
		switch {
		case f.section:
			value, err = encodeMapping(f.value)
		case f.secret() && !f.value.IsZero():
			value.SetString("***")
		default:
			err = value.Encode(f.value.Interface())
		}
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", f.name, err)
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.name}, value)
	}
	return n, nil
}
