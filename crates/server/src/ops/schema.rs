//! Schemas: stored byte for byte, never changed, deleted when no dataset uses them.
//!
//! What a schema may say is `kindred_types::schema`; this file keeps the records.

use super::paging::Page;
use super::{Context, lookup};
use crate::error::Exception;
use kindred_catalog::records::{Dataset, Schema};
use kindred_types::schema::{self, DatasetType, Domain};
use kindred_types::shapes::{
    CreateSchemaRequest, CreateSchemaResponse, DatasetSchema, DatasetSchemaSummary,
    DeleteSchemaRequest, DescribeSchemaRequest, DescribeSchemaResponse, ListSchemasRequest,
    ListSchemasResponse,
};

/// Stores a schema after checking every rule of its dataset type.
pub(crate) fn create_schema(
    ctx: &Context,
    request: CreateSchemaRequest,
) -> Result<CreateSchemaResponse, Exception> {
    let parsed = parse(&request.schema, request.domain.as_deref())?;
    let arn = ctx.account.schema(&request.name);
    ctx.catalog.write(|tx| {
        lookup::need_free(tx, &arn)?;
        need_few_columns(ctx, &parsed)?;
        let limit = ctx.settings.quotas.schemas;
        lookup::need_room(limit, "schemas", || Ok(tx.count::<Schema>(None)?))?;
        tx.insert(&Schema {
            arn: arn.clone(),
            name: request.name,
            schema: request.schema,
            domain: request.domain,
            created: tx.now(),
            updated: tx.now(),
        })?;
        Ok(CreateSchemaResponse {
            schema_arn: Some(arn),
        })
    })
}

/// Describes a schema with its text as it was given.
pub(crate) fn describe_schema(
    ctx: &Context,
    request: DescribeSchemaRequest,
) -> Result<DescribeSchemaResponse, Exception> {
    ctx.catalog.read(|tx| {
        let schema: Schema = lookup::need(tx, &request.schema_arn)?;
        let shape = DatasetSchema {
            name: Some(schema.name),
            schema_arn: Some(schema.arn),
            schema: Some(schema.schema),
            creation_date_time: Some(schema.created),
            last_updated_date_time: Some(schema.updated),
            domain: schema.domain,
        };
        Ok(DescribeSchemaResponse {
            schema: Some(shape),
        })
    })
}

/// Lists all schemas.
pub(crate) fn list_schemas(
    ctx: &Context,
    request: ListSchemasRequest,
) -> Result<ListSchemasResponse, Exception> {
    let page = Page::of(
        "ListSchemas",
        "",
        request.next_token.as_deref(),
        request.max_results,
    )?;
    ctx.catalog.read(|tx| {
        let (schemas, next_token) = page.read::<Schema>(tx, None)?;
        let schemas = schemas.into_iter().map(|schema| DatasetSchemaSummary {
            name: Some(schema.name),
            schema_arn: Some(schema.arn),
            creation_date_time: Some(schema.created),
            last_updated_date_time: Some(schema.updated),
            domain: schema.domain,
        });
        Ok(ListSchemasResponse {
            schemas: Some(schemas.collect()),
            next_token,
        })
    })
}

/// Deletes a schema that no dataset uses.
pub(crate) fn delete_schema(ctx: &Context, request: DeleteSchemaRequest) -> Result<(), Exception> {
    let arn = request.schema_arn;
    ctx.catalog.write(|tx| {
        lookup::need::<Schema>(tx, &arn)?;
        let datasets = tx.all::<Dataset>(None)?;
        if let Some(user) = datasets.iter().find(|dataset| dataset.schema_arn == arn) {
            return Err(Exception::in_use(format!(
                "Schema {arn} is used by dataset {}. Delete the dataset first.",
                user.arn
            )));
        }
        tx.delete::<Schema>(&arn)?;
        Ok(())
    })
}

/// Reads a schema text under the rules of its domain.
pub(crate) fn parse(text: &str, domain: Option<&str>) -> Result<schema::DatasetSchema, Exception> {
    let domain = domain.and_then(Domain::from_name);
    schema::parse(text, domain)
        .map_err(|error| Exception::invalid_input(format!("The schema is not valid: {error}.")))
}

/// The schema of a stored record, which was checked when it was created.
pub(crate) fn stored(schema: &Schema) -> Result<schema::DatasetSchema, Exception> {
    parse(&schema.schema, schema.domain.as_deref())
}

/// Holds the metadata columns of a schema to the quota, where there is one.
fn need_few_columns(ctx: &Context, schema: &schema::DatasetSchema) -> Result<(), Exception> {
    let quotas = &ctx.settings.quotas;
    let limit = match schema.kind {
        DatasetType::Interactions => quotas.interactions_metadata_columns,
        DatasetType::Items => quotas.items_metadata_columns,
        DatasetType::Users => quotas.users_metadata_columns,
    };
    if limit > 0 && schema.metadata().count() as u64 > limit {
        return Err(Exception::limit_exceeded(format!(
            "More than {limit} metadata columns in a schema for {} datasets.",
            schema.kind.title()
        )));
    }
    let limit = quotas.items_textual_columns;
    let textual = schema.fields.iter().filter(|field| field.textual).count();
    if limit > 0 && textual as u64 > limit {
        return Err(Exception::limit_exceeded(format!(
            "More than {limit} textual columns in a schema."
        )));
    }
    Ok(())
}
