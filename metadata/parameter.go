package metadata

import (
	"context"
	"encoding/json"
	"fmt"
)

// Parameter is a setting of one of RabbitMQ's plugins that is kept for whoever
// asks for it. The engine does not look at it.
type Parameter struct {
	Namespace string `json:"namespace"`
	Component string `json:"component"`
	Name      string `json:"name"`
	// Value is any JSON.
	Value json.RawMessage `json:"value"`
}

// GlobalParameter is a setting of the cluster that is kept for whoever asks for it.
type GlobalParameter struct {
	Name string `json:"name"`
	// Value is any JSON.
	Value json.RawMessage `json:"value"`
}

// parameterID names a parameter.
type parameterID struct {
	namespace, component, name string
}

func (k keys) parameter(namespace, component, n string) string {
	return k.key(kindParameters, namespace, component, n)
}

func decodeParameter(names []string, value []byte) (any, error) {
	p := Parameter{}
	err := decode(value, &p)
	p.Namespace, p.Component, p.Name = names[0], names[1], names[2]
	return p, err
}

func decodeGlobal(names []string, value []byte) (any, error) {
	p := GlobalParameter{}
	err := decode(value, &p)
	p.Name = names[0]
	return p, err
}

// PutParameter makes a parameter or replaces the one of that name. Its namespace
// must exist, else ErrNotFound.
func (c *Catalog) PutParameter(ctx context.Context, p Parameter) error {
	value, err := encode(p)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("put parameter %q of %q in namespace %q", p.Name, p.Component, p.Namespace)
	_, err = c.write(ctx, what, func(v *view) (plan, error) {
		home, err := v.exists(v.keys.namespace(p.Namespace))
		if err != nil {
			return plan{}, err
		}
		key := v.keys.parameter(p.Namespace, p.Component, p.Name)
		return plan{compares: []Compare{home}, ops: []Op{{Key: key, Value: value}}}, nil
	})
	return err
}

// DeleteParameter deletes a parameter.
func (c *Catalog) DeleteParameter(ctx context.Context, namespace, component, name string) (bool, error) {
	what := fmt.Sprintf("delete parameter %q of %q in namespace %q", name, component, namespace)
	return c.remove(ctx, what, c.keys.parameter(namespace, component, name))
}

// Parameters returns all parameters by namespace, component and name.
func (c *Catalog) Parameters() []Parameter {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return sortedValues(c.view.parameters, func(a, b Parameter) int {
		return compareAll(a.Namespace, b.Namespace, a.Component, b.Component, a.Name, b.Name)
	})
}

// PutGlobalParameter makes a global parameter or replaces the one of that name.
func (c *Catalog) PutGlobalParameter(ctx context.Context, p GlobalParameter) error {
	return c.put(ctx, fmt.Sprintf("put global parameter %q", p.Name), c.keys.key(kindGlobals, p.Name), p)
}

// DeleteGlobalParameter deletes a global parameter.
func (c *Catalog) DeleteGlobalParameter(ctx context.Context, name string) (bool, error) {
	return c.remove(ctx, fmt.Sprintf("delete global parameter %q", name), c.keys.key(kindGlobals, name))
}

// GlobalParameters returns all global parameters by name.
func (c *Catalog) GlobalParameters() []GlobalParameter {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return sortedValues(c.view.globals, func(a, b GlobalParameter) int { return compareAll(a.Name, b.Name) })
}
