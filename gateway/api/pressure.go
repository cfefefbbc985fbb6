package api

import (
	"context"
)

// pressureBody are the marks from which on publishers wait; what is left out
// stays as it is.
type pressureBody struct {
	DiskWarnPercent   *int   `json:"disk_warn_percent"`
	DiskFreePercent   *int   `json:"disk_free_percent"`
	DiskFreeBytes     *int64 `json:"disk_free_bytes"`
	MemoryHighPercent *int   `json:"memory_high_percent"`
	MemoryHighBytes   *int64 `json:"memory_high_bytes"`
}

// getPressure tells the marks, how much there is, and whether publishers wait.
func (a *API) getPressure(context.Context, *request) (answer, error) {
	marks, st := a.Broker.PressureMarks(), a.Broker.Stats()
	return found(object{
		"disk_warn_percent": marks.DiskWarnPercent, "disk_free_percent": marks.DiskFreePercent,
		"disk_free_bytes":     marks.DiskFreeBytes,
		"memory_high_percent": marks.MemoryHighPercent, "memory_high_bytes": marks.MemoryHighBytes,
		"disk_alarm": st.Pressure.Disk, "memory_alarm": st.Pressure.Memory, "reason": st.Pressure.Reason,
		"disk_free": st.DiskFree, "memory_in_use": st.MemoryInUse,
	})
}

// putPressure changes marks until the broker ends.
func (a *API) putPressure(_ context.Context, r *request) (answer, error) {
	var body pressureBody
	if err := r.decode(&body); err != nil {
		return answer{}, err
	}
	marks := a.Broker.PressureMarks()
	change(&marks.DiskWarnPercent, body.DiskWarnPercent)
	change(&marks.DiskFreePercent, body.DiskFreePercent)
	change(&marks.DiskFreeBytes, body.DiskFreeBytes)
	change(&marks.MemoryHighPercent, body.MemoryHighPercent)
	change(&marks.MemoryHighBytes, body.MemoryHighBytes)
	if err := a.Broker.SetPressureMarks(marks); err != nil {
		return answer{}, badRequest("%v", err)
	}
	return put(false)
}

// change sets what is given.
func change[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}
