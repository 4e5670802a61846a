// A Terraform provider that has nothing but a schema: what `terraform validate` and `terraform test` with mocked providers ask a provider
// for. It reads schema.json beside its executable (infra/validate/provider-schema.mjs writes it) and computes nothing.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// As written by provider-schema.mjs.
type schemaFile struct {
	Address   string           `json:"address"`
	Provider  block            `json:"provider"`
	Resources map[string]block `json:"resources"`
	Data      map[string]block `json:"data"`
}

type block struct {
	Attributes map[string]attribute   `json:"attributes"`
	Blocks     map[string]nestedBlock `json:"blocks"`
}

type attribute struct {
	// A type of Terraform's type system in its JSON form, for example ["map","string"].
	Type     json.RawMessage `json:"type"`
	Required bool            `json:"required"`
	Optional bool            `json:"optional"`
	Computed bool            `json:"computed"`
}

type nestedBlock struct {
	// list, set or single
	Nesting  string `json:"nesting"`
	MinItems int64  `json:"min"`
	MaxItems int64  `json:"max"`
	Block    block  `json:"block"`
}

func (b block) schema() (*tfprotov6.SchemaBlock, error) {
	out := &tfprotov6.SchemaBlock{}
	for name, a := range b.Attributes {
		//lint:ignore SA1019 there is no other parser of the JSON form
		kind, err := tftypes.ParseJSONType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Attributes = append(out.Attributes, &tfprotov6.SchemaAttribute{
			Name: name, Type: kind, Required: a.Required, Optional: a.Optional, Computed: a.Computed,
		})
	}
	nestings := map[string]tfprotov6.SchemaNestedBlockNestingMode{
		"list":   tfprotov6.SchemaNestedBlockNestingModeList,
		"set":    tfprotov6.SchemaNestedBlockNestingModeSet,
		"single": tfprotov6.SchemaNestedBlockNestingModeSingle,
	}
	for name, n := range b.Blocks {
		inner, err := n.Block.schema()
		if err != nil {
			return nil, fmt.Errorf("%s.%w", name, err)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Nesting: nestings[n.Nesting], MinItems: n.MinItems, MaxItems: n.MaxItems, Block: inner,
		})
	}
	return out, nil
}

func schemas(blocks map[string]block) (map[string]*tfprotov6.Schema, error) {
	out := map[string]*tfprotov6.Schema{}
	for name, b := range blocks {
		inner, err := b.schema()
		if err != nil {
			return nil, fmt.Errorf("%s.%w", name, err)
		}
		out[name] = &tfprotov6.Schema{Block: inner}
	}
	return out, nil
}

// schemaOnly answers for schemas and finds every configuration good; anything else is a nil call, because nothing else may happen.
type schemaOnly struct {
	tfprotov6.ProviderServer
	schema *tfprotov6.GetProviderSchemaResponse
}

func (s schemaOnly) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	out := &tfprotov6.GetMetadataResponse{ServerCapabilities: s.schema.ServerCapabilities}
	for name := range s.schema.ResourceSchemas {
		out.Resources = append(out.Resources, tfprotov6.ResourceMetadata{TypeName: name})
	}
	for name := range s.schema.DataSourceSchemas {
		out.DataSources = append(out.DataSources, tfprotov6.DataSourceMetadata{TypeName: name})
	}
	return out, nil
}

func (s schemaOnly) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return s.schema, nil
}

func (s schemaOnly) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (s schemaOnly) ValidateProviderConfig(_ context.Context, r *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (s schemaOnly) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (s schemaOnly) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (s schemaOnly) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func load() (string, schemaOnly, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", schemaOnly{}, err
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(executable), "schema.json"))
	if err != nil {
		return "", schemaOnly{}, err
	}
	var file schemaFile
	if err := json.Unmarshal(text, &file); err != nil {
		return "", schemaOnly{}, err
	}
	provider, err := file.Provider.schema()
	if err != nil {
		return "", schemaOnly{}, err
	}
	resources, err := schemas(file.Resources)
	if err != nil {
		return "", schemaOnly{}, err
	}
	data, err := schemas(file.Data)
	if err != nil {
		return "", schemaOnly{}, err
	}
	return file.Address, schemaOnly{schema: &tfprotov6.GetProviderSchemaResponse{
		ServerCapabilities: &tfprotov6.ServerCapabilities{GetProviderSchemaOptional: true},
		Provider:           &tfprotov6.Schema{Block: provider},
		ResourceSchemas:    resources,
		DataSourceSchemas:  data,
	}}, nil
}

func main() {
	address, server, err := load()
	if err == nil {
		err = tf6server.Serve(address, func() tfprotov6.ProviderServer { return server })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
