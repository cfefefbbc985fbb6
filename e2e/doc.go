// Package e2e tests Tidegate from outside: the real binary, real clients of
// other projects, kill -9. It has no code but tests; its packages hold what
// several tests share.
//
// Environment:
//
//	TIDEGATE_E2E_LONG=1  50 crashes in place of a few
//	TIDEGATE_E2E_ALL=1   a missing client of another project is a failure, not a skip
//	TIDEGATE_E2E_RACE=1  build the binary with the race detector
//	TIDEGATE_E2E_MQTT, TIDEGATE_E2E_AMQP
//	                     addresses of running brokers of other projects to
//	                     hold the tests themselves against; tests that kill
//	                     the broker are skipped then
package e2e
