package selector_test

import (
	"errors"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core/selector"
)

// message is a source of named values.
type message struct {
	fields  map[string]selector.Value
	payload string
}

func (m *message) Field(name string) selector.Value { return m.fields[name] }
func (m *message) Payload() []byte                  { return []byte(m.payload) }

func text(s string) selector.Value  { return selector.Value{Kind: selector.Text, Text: []byte(s)} }
func loose(s string) selector.Value { return selector.Value{Kind: selector.Loose, Text: []byte(s)} }
func number(n int64) selector.Value { return selector.Value{Kind: selector.Int, Int: n} }
func float(f float64) selector.Value {
	return selector.Value{Kind: selector.Float, Float: f}
}
func boolean(b bool) selector.Value { return selector.Value{Kind: selector.Bool, True: b} }

func order() *message {
	return &message{fields: map[string]selector.Value{
		"symbol": text("AAPL"), "price": number(120), "weight": float(2.5), "hot": boolean(true),
		"x-tag": text("TagA"), "region": text("eu-west"), "max": number(1<<63 - 1), "umlaut": text("Größe"),
		"mqtt": loose("35"), "mqttBool": loose("true"), "mqttText": loose("abc"), "odd name": text("x"), "percent": text("5%"),
	}, payload: `{"temp": 31.5, "n": 7, "big": 9007199254740993, "ok": false, "sub": {"list": [1, {"deep": "x"}], "a*b": 1}, "null": null}`}
}

func TestMatch(t *testing.T) {
	m := order()
	for _, c := range []struct {
		text string
		want bool
	}{
		{"symbol = 'AAPL'", true},
		{"symbol = 'aapl'", false},
		{"symbol <> 'IBM'", true},
		{"price > 100 AND symbol IN ('AAPL', 'IBM')", true},
		{"price > 100 and not symbol in ('AAPL', 'IBM')", false},
		{"price NOT IN (1, 120)", false},
		{"price IN (119, 120.0)", true},
		{"price BETWEEN 120 AND 121", true},
		{"price NOT BETWEEN 120 AND 121", false},
		{"price >= 120 AND price <= 120 AND price < 121", true},
		{"weight * 2 = 5", true},
		{"price / 7 = 17", true},
		{"price + 1 - 2 * 3 = 115", true},
		{"(price + 1 - 2) * 3 = 357", true},
		{"-price = -120", true},
		{"- -price = 120", true},
		{"price = 1.2e2", true},
		{"hot", true},
		{"NOT hot", false},
		{"hot = TRUE", true},
		{"hot <> false", true},
		{"hot > FALSE", false},
		{"TRUE", true},
		{"region LIKE 'eu-%'", true},
		{"region NOT LIKE 'eu-%'", false},
		{"region LIKE '%west'", true},
		{"region LIKE '%w%s_'", true},
		{"region LIKE 'eu'", false},
		{"umlaut LIKE 'Gr__e'", true},
		{"percent LIKE '_!%' ESCAPE '!'", true},
		{"percent LIKE '_!_' ESCAPE '!'", false},
		{"x-tag = 'TagA'", true},
		{`"odd name" = 'x'`, true},
		{"'it''s' = 'it''s'", true},

		// What is not there is unknown, and so is what comes of it.
		{"missing = 1", false},
		{"NOT missing = 1", false},
		{"missing = 1 OR price = 120", true},
		{"NOT (missing = 1 AND price = 120)", false},
		{"NOT (missing = 1 AND price = 121)", true},
		{"missing IS NULL", true},
		{"price IS NOT NULL", true},
		{"missing LIKE '%'", false},
		{"missing NOT LIKE '%'", false},
		{"missing IN ('a')", false},
		{"missing + 1 = 1 OR missing * 0 = 0", false},
		{"missing", false},

		// Different types are neither equal nor unequal.
		{"symbol = 1", false},
		{"symbol <> 1", false},
		{"NOT symbol = 1", true},
		{"symbol > 1", false},
		{"symbol + 1 = 2", false},
		{"price LIKE '1%'", false},

		// Text of a protocol without numbers is read as what it stands beside.
		{"mqtt > 30", true},
		{"mqtt BETWEEN 34.5 AND 35.5", true},
		{"mqtt = '35'", true},
		{"mqtt IN (35)", true},
		{"mqtt + 1 = 36", true},
		{"mqttText > 30", false},
		{"mqttBool", true},
		{"mqttBool = TRUE AND NOT mqttBool = FALSE", true},
		{"price = 120 AND mqttBool", true},

		// No arithmetic leaves 64 bits.
		{"max + 1 < 0", false},
		{"max * 2 < 0", false},
		{"price / 0 = 0", false},
		{"max = 9223372036854775807", true},

		{"payload.temp > 30", true},
		{"payload.temp > 30 AND price > 200", false},
		{"payload.n = 7", true},
		{"payload.big = 9007199254740993", true},
		{"payload.ok = FALSE AND NOT payload.ok", true},
		{"payload.sub.list.1.deep = 'x'", true},
		{`"payload.sub.a*b" = 1`, true},
		{`"payload.sub.*" IS NULL`, true},
		{"payload.sub IS NULL", true},
		{"payload.null IS NULL", true},
		{"payload.missing = 1", false},
	} {
		s, err := selector.Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := s.Match(m); got != c.want {
			t.Errorf("%s: got %v, want %v", c.text, got, c.want)
		}
	}
}

func TestPayloadThatIsNoJSON(t *testing.T) {
	for _, payload := range []string{"", "temp=31", `{"temp": 31`, "\xff\xfe", "31"} {
		s, err := selector.Parse("payload.temp IS NULL")
		if err != nil {
			t.Fatal(err)
		}
		if !s.Match(&message{payload: payload}) {
			t.Errorf("payload %q has a temp", payload)
		}
	}
}

// TestPayloadThatIsNestedDeep has what a publisher sends decide nothing but the answer.
func TestPayloadThatIsNestedDeep(t *testing.T) {
	s, err := selector.Parse("payload.a IS NULL AND payload.b IS NULL")
	if err != nil {
		t.Fatal(err)
	}
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	for _, payload := range []string{
		strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000), strings.Repeat("[", 900_000), strings.Repeat(`{"a":`, 9_000),
		`{"a": "` + strings.Repeat("x", 1<<20) + `"}`, // larger than what is looked into
	} {
		if !s.Match(&message{payload: payload}) {
			t.Errorf("a payload that begins %.10s has fields", payload)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		text, reason string
		at           int
	}{
		{"", "the end where a name, a text or a number was expected", 0},
		{"price", "", -1}, // a property may hold a truth
		{"price >", "the end where a name, a text or a number was expected", 7},
		{"price > 1 extra", `"extra" where AND, OR or the end was expected`, 10},
		{"price = 'x", "' is not closed", 8},
		{`"" = 1`, "a name in quotes is empty", 0},
		{"(price = 1", "the end where ) was expected", 10},
		{"price = 1)", `")" where AND, OR or the end was expected`, 9},
		{"price LIKE 5", `"5" where a pattern in quotes was expected`, 11},
		{"price LIKE 'a' ESCAPE 'ab'", "ESCAPE takes one character", 22},
		{"price LIKE 'a!b' ESCAPE '!'", "the escape character stands before neither % nor _ nor itself", 27},
		{"price IN ()", `")" where a name, a text or a number was expected`, 10},
		{"price IN (other)", "IN lists texts and numbers only", 15},
		{"price BETWEEN 1 OR 2", `"OR" where AND was expected`, 16},
		{"price NOT 5", `"5" where BETWEEN, IN or LIKE was expected`, 10},
		{"price IS 5", `"5" where NULL was expected`, 9},
		{"1 + 1", "it is a value, not a condition", 0},
		{"1", "it is a value, not a condition", 0},
		{"price + 1 AND hot", "AND joins conditions, and a value stands before it", 14},
		{"hot AND price + 1", "AND joins conditions, and a value stands behind it", 8},
		{"NOT 'x'", "NOT stands before a value", 0},
		{"price = 12abc", `"12a" is neither a number nor a name`, 8},
		{"price = 99999999999999999999", `"99999999999999999999" is no number of 64 bits`, 8},
		{"price = 1.2.3", `"1.2.3" is no number of 64 bits`, 8},
		{"price ; 1", `';' has no meaning here`, 6},
		{"price = \xff", "it is no UTF-8", 0},
		{strings.Repeat(" ", selector.MaxBytes+1), "it has 8193 bytes of 8192 at most", 0},
		{strings.Repeat("(", 100) + "hot" + strings.Repeat(")", 100), "it is nested more than 64 deep", 65},
		{strings.Repeat("NOT ", 100) + "hot", "it is nested more than 64 deep", 260},
		{"price = " + strings.Repeat("-", 100) + "x", "it is nested more than 64 deep", 0},
		{"price LIKE '" + strings.Repeat("_", 257) + "'", "a pattern has more than 256 bytes", 11},
		{strings.Repeat("payload.a OR ", 32) + "payload.a", "it asks for more than 32 fields of the payload", 416},
		{strings.Repeat("a=1 OR ", 400) + "a=1", "it has more than 1024 parts", 0},
	} {
		_, err := selector.Parse(c.text)
		if c.at < 0 {
			if err != nil {
				t.Errorf("%.40q: %v", c.text, err)
			}
			continue
		}
		var e *selector.Error
		if !errors.As(err, &e) || e.Reason != c.reason {
			t.Errorf("%.40q: got %v, want %q", c.text, err, c.reason)
			continue
		}
		if c.at > 0 && e.At != c.at {
			t.Errorf("%.40q: at %d, want %d", c.text, e.At, c.at)
		}
	}
}

func TestString(t *testing.T) {
	const want = "price > 1  AND hot"
	s, err := selector.Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

func FuzzSelector(f *testing.F) {
	for _, seed := range []string{
		"price > 100 AND symbol IN ('AAPL', 'IBM')", "region LIKE '%a!%b_' ESCAPE '!'", "NOT (a = -1.5e-3 OR b IS NOT NULL)",
		"payload.a.0.b BETWEEN 1 AND 2", `"odd ""name" <> x-tag`,
	} {
		f.Add(seed, "eu-west")
	}
	f.Fuzz(func(t *testing.T, condition, value string) {
		s, err := selector.Parse(condition)
		if err != nil {
			return
		}
		m := order()
		m.fields["a"], m.payload = loose(value), value
		got := s.Match(m)
		again, err := selector.Parse("(" + s.String() + ")")
		if err == nil && again.Match(m) != got {
			t.Errorf("%q in parentheses: got %v, want %v", condition, !got, got)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	m := order()
	for _, c := range []struct{ name, text string }{
		{"equal", "symbol = 'AAPL'"},
		{"several", "price > 100 AND symbol IN ('IBM', 'AAPL') AND region LIKE 'eu-%' AND missing IS NULL"},
		{"payload", "payload.temp > 30"},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := selector.Parse(c.text)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if !s.Match(m) {
					b.Fatal("does not match")
				}
			}
		})
	}
}
