// What GitOps tools make of our resources: reads objects as JSON, one a line, and prints a JSON line for each.
//
//	gitops-health kstatus < objects        by the library that Flux and others use
//	gitops-health lua SCRIPT < objects     by the Lua script of an Argo CD health check, with what Argo CD gives it
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

const mostBytes = 1 << 20

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	check, err := chosen(os.Args[1:])
	if err == nil {
		err = each(os.Stdin, check)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitops-health:", err)
		os.Exit(1)
	}
}

func chosen(arguments []string) (func(map[string]any) (health, error), error) {
	switch {
	case len(arguments) == 1 && arguments[0] == "kstatus":
		return byKstatus, nil
	case len(arguments) == 2 && arguments[0] == "lua":
		script, err := os.ReadFile(arguments[1])
		return func(object map[string]any) (health, error) { return byLua(string(script), object) }, err
	}
	return nil, fmt.Errorf("usage: gitops-health kstatus | lua SCRIPT")
}

func each(input io.Reader, check func(map[string]any) (health, error)) error {
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, mostBytes)
	output := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var object map[string]any
		if err := json.Unmarshal(lines.Bytes(), &object); err != nil {
			return err
		}
		found, err := check(object)
		if err != nil {
			return err
		}
		if err := output.Encode(found); err != nil {
			return err
		}
	}
	return lines.Err()
}

func byKstatus(object map[string]any) (health, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return health{}, err
	}
	parsed := &unstructured.Unstructured{} // has whole numbers as integers, which kstatus asks for
	if err := parsed.UnmarshalJSON(text); err != nil {
		return health{}, err
	}
	found, err := status.Compute(parsed)
	if err != nil {
		return health{}, err
	}
	return health{Status: found.Status.String(), Message: found.Message}, nil
}

// byLua runs a script as Argo CD does: a second at most, without the libraries for strings, files and processes.
func byLua(script string, object map[string]any) (health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return health{}, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the script returns no table")
	}
	return health{Status: lua.LVAsString(table.RawGetString("status")), Message: lua.LVAsString(table.RawGetString("message"))}, nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for name, each := range value {
			table.RawSetString(name, toLua(state, each))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, each := range value {
			table.Append(toLua(state, each))
		}
		return table
	case string:
		return lua.LString(value)
	case float64:
		return lua.LNumber(value)
	case bool:
		return lua.LBool(value)
	}
	return lua.LNil
}
