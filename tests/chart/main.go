// Renders a chart as Helm does, with Helm's own engine and without what the whole of Helm would take to build:
//
//	chart DIRECTORY NAMESPACE < values.json > manifests.yaml
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string, in io.Reader, out io.Writer) error {
	if len(arguments) != 2 {
		return fmt.Errorf("usage: chart DIRECTORY NAMESPACE < values.json")
	}
	given := map[string]any{}
	if err := json.NewDecoder(in).Decode(&given); err != nil {
		return fmt.Errorf("values: %w", err)
	}
	chart, err := loader.Load(arguments[0])
	if err != nil {
		return err
	}
	release := common.ReleaseOptions{Name: chart.Name(), Namespace: arguments[1], Revision: 1, IsInstall: true}
	// Checks them against values.schema.json, too.
	values, err := util.ToRenderValues(chart, given, release, nil)
	if err != nil {
		return err
	}
	rendered, err := engine.Engine{Strict: true}.Render(chart, values)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(rendered))
	for name, text := range rendered {
		if path.Ext(name) == ".yaml" && strings.TrimSpace(text) != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(out, "---\n%s\n", strings.TrimSpace(rendered[name]))
	}
	return nil
}
