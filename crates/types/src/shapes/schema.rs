//! Schemas.

use super::simple::*;

structures! {
    CreateSchemaRequest {
        name "name": Name required,
        schema "schema": AvroSchema required,
        domain "domain": Domain,
    }
    CreateSchemaResponse {
        schema_arn "schemaArn": Arn,
    }
    DescribeSchemaRequest {
        schema_arn "schemaArn": Arn required,
    }
    DescribeSchemaResponse {
        schema "schema": DatasetSchema,
    }
    DatasetSchema {
        name "name": Name,
        schema_arn "schemaArn": Arn,
        schema "schema": AvroSchema,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        domain "domain": Domain,
    }
    ListSchemasRequest {
        next_token "nextToken": NextToken,
        max_results "maxResults": MaxResults,
    }
    ListSchemasResponse {
        schemas "schemas": Schemas,
        next_token "nextToken": NextToken,
    }
    DatasetSchemaSummary {
        name "name": Name,
        schema_arn "schemaArn": Arn,
        creation_date_time "creationDateTime": Date,
        last_updated_date_time "lastUpdatedDateTime": Date,
        domain "domain": Domain,
    }
    DeleteSchemaRequest {
        schema_arn "schemaArn": Arn required,
    }
}

operations! {
    CreateSchema(CreateSchemaRequest) -> CreateSchemaResponse fails [InvalidInput, ResourceAlreadyExists, LimitExceeded];
    DescribeSchema(DescribeSchemaRequest) -> DescribeSchemaResponse fails [InvalidInput, ResourceNotFound];
    ListSchemas(ListSchemasRequest) -> ListSchemasResponse fails [InvalidNextToken];
    DeleteSchema(DeleteSchemaRequest) fails [InvalidInput, ResourceNotFound, ResourceInUse];
}
