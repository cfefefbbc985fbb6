package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/metadata"
)

// field is a field of a configuration struct that can be configured.
type field struct {
	name    string // as in YAML
	value   reflect.Value
	section bool // a struct with fields of its own
}

func (f field) secret() bool { return f.value.Type() == reflect.TypeFor[metadata.Secret]() }

// fieldsOf returns the fields of a struct that are named by a yaml tag, in order.
func fieldsOf(v reflect.Value) []field {
	var fields []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		value := v.Field(i)
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{name, value, value.Kind() == reflect.Struct})
	}
	return fields
}

// setting is one leaf of the configuration.
type setting struct {
	key   string // as in YAML, with dots between the levels
	value reflect.Value
}

// settingsOf returns all leaves of the configuration, in the order of the structs.
func settingsOf(cfg *Config) []setting {
	return leaves(nil, "", reflect.ValueOf(cfg).Elem())
}

func leaves(dst []setting, prefix string, v reflect.Value) []setting {
	for _, f := range fieldsOf(v) {
		if f.section {
			dst = leaves(dst, prefix+f.name+".", f.value)
			continue
		}
		dst = append(dst, setting{prefix + f.name, f.value})
	}
	return dst
}

// env returns the environment variable of the setting.
func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// set parses the text by the type of the setting; lists are separated by commas.
func (s setting) set(text string) (err error) {
	v := s.value
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(text, 10, v.Type().Bits())
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(text, 10, v.Type().Bits())
		v.SetUint(n)
	case reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		v.SetFloat(f)
	case reflect.Slice:
		v.Set(splitList(text, v.Type()))
	default:
		err = fmt.Errorf("a %s has no text", v.Type())
	}
	return err
}

// splitList returns the items as a slice of the type; no text is an empty list.
func splitList(text string, t reflect.Type) reflect.Value {
	list := reflect.MakeSlice(t, 0, 0)
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = reflect.Append(list, reflect.ValueOf(item).Convert(t.Elem()))
		}
	}
	return list
}
