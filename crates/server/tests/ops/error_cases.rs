//! The cases of [`crate::errors`]: what is sent in which situation, and the answer's name.

use crate::support::*;
use kindred_catalog::records::{Dataset, DatasetGroup, Filter, SegmentJob, Solution, status};
use serde_json::{Value, json};

pub(crate) type Arrange = fn(&Server);

pub(crate) struct Case {
    pub(crate) operation: &'static str,
    pub(crate) error: &'static str,
    pub(crate) arrange: Arrange,
    pub(crate) input: Value,
}

pub(crate) fn nothing(_: &Server) {}

fn group_busy(server: &Server) {
    server.edit::<DatasetGroup>(&format!("{ARN}dataset-group/g"), |group| {
        group.status = status::CREATE_PENDING.into()
    });
}

fn dataset_busy(server: &Server) {
    server.edit::<Dataset>(&format!("{ARN}dataset/g/INTERACTIONS"), |dataset| {
        dataset.status = "UPDATE IN_PROGRESS".into()
    });
}

fn solution_busy(server: &Server) {
    server.edit::<Solution>(&format!("{ARN}solution/s"), |solution| {
        solution.status = status::CREATE_PENDING.into()
    });
}

fn version_busy(server: &Server) {
    server.status_of_version(&format!("{ARN}solution/s/v1"), status::CREATE_IN_PROGRESS);
}

fn version_failed(server: &Server) {
    server.status_of_version(&format!("{ARN}solution/s/v1"), status::CREATE_FAILED);
}

fn version_stopping(server: &Server) {
    server.status_of_version(&format!("{ARN}solution/s/v1"), status::CREATE_STOPPING);
}

fn importing(server: &Server) {
    server.ok("CreateDatasetImportJob", import("i"));
}

pub(crate) fn segmenting(server: &Server) {
    server.ok("CreateBatchSegmentJob", segment("j"));
}

fn segment_running(server: &Server) {
    segmenting(server);
    server.edit::<SegmentJob>(&format!("{ARN}batch-segment-job/j"), |job| {
        job.status = status::CREATE_IN_PROGRESS.into()
    });
}

fn training(server: &Server) {
    server.ok("CreateSolutionVersion", version("s"));
}

fn described(server: &Server) {
    server.ok("CreateDataset", dataset("users", "USERS"));
}

pub(crate) fn filtering(server: &Server) {
    described(server);
    server.ok("CreateFilter", filter("f"));
}

fn segmenting_with_filter(server: &Server) {
    filtering(server);
    server.ok("CreateBatchSegmentJob", filtered_segment());
}

fn filtered_segment() -> Value {
    with(segment("j"), json!({"filterArn": format!("{ARN}filter/f")}))
}

fn filter_busy(server: &Server) {
    filtering(server);
    server.edit::<Filter>(&format!("{ARN}filter/f"), |filter| {
        filter.status = status::CREATE_PENDING.into()
    });
}

fn described_and_group_busy(server: &Server) {
    described(server);
    group_busy(server);
}

fn items_importing(server: &Server) {
    server.ok("CreateDataset", dataset("items", "ITEMS"));
    let job = with(
        import("i"),
        json!({"datasetArn": format!("{ARN}dataset/g/ITEMS")}),
    );
    server.ok("CreateDatasetImportJob", job);
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |operation, error, arrange: Arrange, input: Value| {
        cases.push(Case {
            operation,
            error,
            arrange,
            input,
        });
    };
    let group = || json!({"datasetGroupArn": format!("{ARN}dataset-group/g")});
    let data = || json!({"datasetArn": format!("{ARN}dataset/g/INTERACTIONS")});
    let s = || json!({"solutionArn": format!("{ARN}solution/s")});
    let v1 = || json!({"solutionVersionArn": format!("{ARN}solution/s/v1")});
    let many = || json!({"tags": tags(51)});
    let schema = |name: &str| json!({"name": name, "schema": interactions_schema()});

    // What every operation has that takes an ARN: a malformed one, an unknown one, one of another
    // kind, one of another account.
    for (operation, member, own_kind, more) in [
        ("DescribeSchema", "schemaArn", "schema/nope", json!({})),
        ("DeleteSchema", "schemaArn", "schema/nope", json!({})),
        (
            "DescribeDatasetGroup",
            "datasetGroupArn",
            "dataset-group/nope",
            json!({}),
        ),
        (
            "DeleteDatasetGroup",
            "datasetGroupArn",
            "dataset-group/nope",
            json!({}),
        ),
        (
            "CreateDataset",
            "datasetGroupArn",
            "dataset-group/nope",
            dataset("users", "USERS"),
        ),
        (
            "CreateDataset",
            "schemaArn",
            "schema/nope",
            dataset("users", "USERS"),
        ),
        (
            "DescribeDataset",
            "datasetArn",
            "dataset/g/ITEMS",
            json!({}),
        ),
        ("DeleteDataset", "datasetArn", "dataset/g/ITEMS", json!({})),
        (
            "UpdateDataset",
            "datasetArn",
            "dataset/g/ITEMS",
            json!({"schemaArn": format!("{ARN}schema/items")}),
        ),
        ("UpdateDataset", "schemaArn", "schema/nope", data()),
        (
            "CreateDatasetImportJob",
            "datasetArn",
            "dataset/g/ITEMS",
            import("i"),
        ),
        (
            "DescribeDatasetImportJob",
            "datasetImportJobArn",
            "dataset-import-job/nope",
            json!({}),
        ),
        (
            "CreateSolution",
            "datasetGroupArn",
            "dataset-group/nope",
            solution("t"),
        ),
        ("CreateSolution", "recipeArn", "recipe/nope", solution("t")),
        (
            "DescribeSolution",
            "solutionArn",
            "solution/nope",
            json!({}),
        ),
        (
            "UpdateSolution",
            "solutionArn",
            "solution/nope",
            json!({"performAutoTraining": false}),
        ),
        ("DeleteSolution", "solutionArn", "solution/nope", json!({})),
        (
            "CreateSolutionVersion",
            "solutionArn",
            "solution/nope",
            json!({}),
        ),
        (
            "DescribeSolutionVersion",
            "solutionVersionArn",
            "solution/s/nope",
            json!({}),
        ),
        (
            "ListSolutionVersions",
            "solutionArn",
            "solution/nope",
            json!({}),
        ),
        (
            "StopSolutionVersionCreation",
            "solutionVersionArn",
            "solution/s/nope",
            json!({}),
        ),
        (
            "GetSolutionMetrics",
            "solutionVersionArn",
            "solution/s/nope",
            json!({}),
        ),
        (
            "CreateBatchSegmentJob",
            "solutionVersionArn",
            "solution/s/nope",
            segment("j"),
        ),
        (
            "CreateBatchSegmentJob",
            "filterArn",
            "filter/nope",
            segment("j"),
        ),
        (
            "DescribeBatchSegmentJob",
            "batchSegmentJobArn",
            "batch-segment-job/nope",
            json!({}),
        ),
        (
            "CreateFilter",
            "datasetGroupArn",
            "dataset-group/nope",
            filter("f"),
        ),
        ("DescribeFilter", "filterArn", "filter/nope", json!({})),
        ("DeleteFilter", "filterArn", "filter/nope", json!({})),
        ("DescribeRecipe", "recipeArn", "recipe/nope", json!({})),
        (
            "DescribeAlgorithm",
            "algorithmArn",
            "algorithm/nope",
            json!({}),
        ),
        (
            "DescribeFeatureTransformation",
            "featureTransformationArn",
            "feature-transformation/nope",
            json!({}),
        ),
        (
            "TagResource",
            "resourceArn",
            "solution/nope",
            json!({"tags": []}),
        ),
        (
            "UntagResource",
            "resourceArn",
            "solution/nope",
            json!({"tagKeys": []}),
        ),
        (
            "ListTagsForResource",
            "resourceArn",
            "solution/nope",
            json!({}),
        ),
    ] {
        let elsewhere = "arn:aws:personalize:us-east-1:111111111111:";
        let unknown = [
            format!("{ARN}{own_kind}"),
            format!("{elsewhere}{own_kind}"),
            format!("{ARN}filter/g"),
        ];
        for arn in unknown {
            add(
                operation,
                "ResourceNotFound",
                nothing,
                with(more.clone(), json!({member: arn})),
            );
        }
        if member != "resourceArn" {
            let other_kind = if member == "solutionVersionArn" {
                "solution/s"
            } else {
                "solution/s/v1"
            };
            let arn = format!("{ARN}{other_kind}");
            add(
                operation,
                "ResourceNotFound",
                nothing,
                with(more.clone(), json!({member: arn})),
            );
        }
        add(
            operation,
            "InvalidInput",
            nothing,
            with(more, json!({member: "not an arn"})),
        );
    }

    // Lists.
    for operation in ["ListDatasets", "ListSolutions", "ListFilters"] {
        add(
            operation,
            "InvalidInput",
            nothing,
            json!({"datasetGroupArn": format!("{ARN}dataset-group/nope")}),
        );
    }
    add(
        "ListDatasetImportJobs",
        "InvalidInput",
        nothing,
        json!({"datasetArn": format!("{ARN}dataset/g/USERS")}),
    );
    add(
        "ListBatchSegmentJobs",
        "InvalidInput",
        nothing,
        json!({"solutionVersionArn": format!("{ARN}solution/s")}),
    );
    for operation in [
        "ListSchemas",
        "ListDatasetGroups",
        "ListDatasets",
        "ListDatasetImportJobs",
        "ListSolutions",
        "ListSolutionVersions",
        "ListBatchSegmentJobs",
        "ListFilters",
        "ListRecipes",
    ] {
        add(operation, "InvalidInput", nothing, json!({"maxResults": 0}));
        add(
            operation,
            "InvalidInput",
            nothing,
            json!({"maxResults": 101}),
        );
        add(
            operation,
            "InvalidNextToken",
            nothing,
            json!({"nextToken": "bm90IG91cnM"}),
        );
    }

    add(
        "CreateSchema",
        "InvalidInput",
        nothing,
        json!({"name": "new", "schema": "{}"}),
    );
    add(
        "CreateSchema",
        "ResourceAlreadyExists",
        nothing,
        schema("items"),
    );
    add(
        "DeleteSchema",
        "ResourceInUse",
        nothing,
        json!({"schemaArn": format!("{ARN}schema/interactions")}),
    );

    add(
        "CreateDatasetGroup",
        "InvalidInput",
        nothing,
        json!({"name": "new", "roleArn": ROLE}),
    );
    add(
        "CreateDatasetGroup",
        "ResourceAlreadyExists",
        nothing,
        json!({"name": "g"}),
    );
    add(
        "CreateDatasetGroup",
        "TooManyTags",
        nothing,
        with(json!({"name": "new"}), many()),
    );
    add("DeleteDatasetGroup", "ResourceInUse", nothing, group());

    add(
        "CreateDataset",
        "InvalidInput",
        nothing,
        dataset("items", "USERS"),
    );
    add(
        "CreateDataset",
        "ResourceInUse",
        group_busy,
        dataset("items", "ITEMS"),
    );
    add(
        "CreateDataset",
        "ResourceAlreadyExists",
        nothing,
        dataset("interactions", "Interactions"),
    );
    add(
        "CreateDataset",
        "TooManyTags",
        nothing,
        with(dataset("items", "ITEMS"), many()),
    );
    let same = with(
        data(),
        json!({"schemaArn": format!("{ARN}schema/interactions")}),
    );
    add("UpdateDataset", "InvalidInput", nothing, same.clone());
    add("UpdateDataset", "ResourceInUse", importing, same.clone());
    add("UpdateDataset", "ResourceInUse", dataset_busy, same);
    let items = json!({"datasetArn": format!("{ARN}dataset/g/ITEMS"), "schemaArn": format!("{ARN}schema/items")});
    add("UpdateDataset", "ResourceInUse", items_importing, items);
    add("DeleteDataset", "ResourceInUse", importing, data());
    for busy in [version_busy, version_stopping, training] {
        add("DeleteDataset", "ResourceInUse", busy, data());
    }

    add(
        "CreateDatasetImportJob",
        "InvalidInput",
        nothing,
        with(import("i"), json!({"dataSource": {}})),
    );
    add(
        "CreateDatasetImportJob",
        "ResourceInUse",
        dataset_busy,
        import("i"),
    );
    add(
        "CreateDatasetImportJob",
        "ResourceAlreadyExists",
        importing,
        import("i"),
    );
    add(
        "CreateDatasetImportJob",
        "TooManyTags",
        nothing,
        with(import("i"), many()),
    );

    add(
        "CreateSolution",
        "InvalidInput",
        nothing,
        with(solution("t"), json!({"performHPO": true})),
    );
    add("CreateSolution", "ResourceInUse", group_busy, solution("t"));
    add(
        "CreateSolution",
        "ResourceAlreadyExists",
        nothing,
        solution("s"),
    );
    add(
        "CreateSolution",
        "TooManyTags",
        nothing,
        with(solution("t"), many()),
    );
    add("UpdateSolution", "InvalidInput", nothing, s());
    add(
        "UpdateSolution",
        "ResourceInUse",
        solution_busy,
        with(s(), json!({"performAutoTraining": false})),
    );
    for busy in [
        version_busy,
        version_stopping,
        training,
        segmenting,
        segment_running,
    ] {
        add("DeleteSolution", "ResourceInUse", busy, s());
    }

    add(
        "CreateSolutionVersion",
        "InvalidInput",
        nothing,
        with(version("s"), json!({"trainingMode": "UPDATE"})),
    );
    add(
        "CreateSolutionVersion",
        "ResourceInUse",
        solution_busy,
        version("s"),
    );
    add(
        "CreateSolutionVersion",
        "ResourceInUse",
        importing,
        version("s"),
    );
    add(
        "CreateSolutionVersion",
        "ResourceAlreadyExists",
        nothing,
        with(version("s"), json!({"name": "v1"})),
    );
    add(
        "CreateSolutionVersion",
        "TooManyTags",
        nothing,
        with(version("s"), many()),
    );
    add("StopSolutionVersionCreation", "InvalidInput", nothing, v1());
    add("GetSolutionMetrics", "ResourceInUse", version_busy, v1());
    add("GetSolutionMetrics", "InvalidInput", version_failed, v1());

    add(
        "CreateBatchSegmentJob",
        "InvalidInput",
        version_failed,
        segment("j"),
    );
    add(
        "CreateBatchSegmentJob",
        "ResourceInUse",
        version_busy,
        segment("j"),
    );
    add(
        "CreateBatchSegmentJob",
        "ResourceInUse",
        version_stopping,
        segment("j"),
    );
    add(
        "CreateBatchSegmentJob",
        "ResourceInUse",
        filter_busy,
        filtered_segment(),
    );
    add(
        "CreateBatchSegmentJob",
        "ResourceAlreadyExists",
        segmenting,
        segment("j"),
    );
    add(
        "CreateBatchSegmentJob",
        "TooManyTags",
        nothing,
        with(segment("j"), many()),
    );

    add("CreateFilter", "InvalidInput", nothing, filter("f"));
    add(
        "CreateFilter",
        "InvalidInput",
        described_and_group_busy,
        filter("f"),
    );
    add(
        "CreateFilter",
        "ResourceAlreadyExists",
        filtering,
        filter("f"),
    );
    add(
        "CreateFilter",
        "TooManyTags",
        described,
        with(filter("f"), many()),
    );
    add(
        "DeleteFilter",
        "ResourceInUse",
        segmenting_with_filter,
        json!({"filterArn": format!("{ARN}filter/f")}),
    );

    let tag = |more: Value| with(json!({"resourceArn": format!("{ARN}solution/s")}), more);
    add("TagResource", "TooManyTags", nothing, tag(many()));
    let keys: Vec<String> = (0..51).map(|n| n.to_string()).collect();
    add(
        "UntagResource",
        "TooManyTagKeys",
        nothing,
        tag(json!({"tagKeys": keys})),
    );
    cases
}
