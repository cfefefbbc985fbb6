// Package selector reads and evaluates message selectors: conditions in the manner
// of SQL-92 on the properties of a message, as JMS defined them (Jakarta Messaging
// 3.1, section 3.8), and on fields of a payload in JSON.
//
//	price > 100 AND symbol IN ('AAPL', 'IBM') AND note IS NOT NULL
//	region LIKE 'eu-%' OR payload.reading.temp BETWEEN 30 AND 40
//
// There are = <> < <= > >=, + - * /, AND OR NOT, BETWEEN, IN, LIKE with ESCAPE, IS
// NULL, TRUE and FALSE; keywords in any case, names exactly. A name consists of
// letters, digits, _ $ - and dots, and begins with no digit; in double quotes it may
// have any characters. What begins with "payload." leads into the payload.
//
// Logic has three values: what compares with something that is not there is unknown,
// and a message is selected when the whole is true. Values of different types are not
// equal, nor is one greater, and so the comparison is false. Text orders by bytes,
// which JMS does not have.
//
// The package is pure: no clock, no input or output, no goroutines. A Selector does
// not change and may be used by many goroutines at once.
package selector
