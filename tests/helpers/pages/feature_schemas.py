"""Keys of the files that other tools read features from: SAEDashboard 0.8.0, Neuronpedia's database, delphi 0.1.3.

benchmarks/peers/dashboards.py compares those of SAEDashboard and delphi with the libraries.
"""

BATCH = {"model_id", "layer", "sae_set", "sae_id_suffix", "features"}
MEASURES = {
    "neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1", "correlated_neurons_indices",
    "correlated_neurons_l1", "correlated_neurons_pearson", "correlated_features_indices", "correlated_features_l1",
    "correlated_features_pearson", "neg_str", "neg_values", "pos_str", "pos_values", "frac_nonzero",
    "freq_hist_data_bar_values", "freq_hist_data_bar_heights", "logits_hist_data_bar_heights",
    "logits_hist_data_bar_values", "decoder_weights_dist", "vector",
}  # fmt: skip
FEATURE = MEASURES | {"feature_index", "n_prompts_total", "n_tokens_in_prompt", "dataset", "activations"}
PASSAGE = {"bin_min", "bin_max", "bin_contains", "tokens", "values", "qualifying_token_index"}
FEATURE_COLUMNS = MEASURES | {
    "modelId", "layer", "index", "sourceSetName", "creatorId", "createdAt", "maxActApprox", "hasVector", "vectorLabel",
    "vectorDefaultSteerStrength", "hookName", "topkCosSimIndices", "topkCosSimValues",
}  # fmt: skip
ACTIVATION_COLUMNS = {
    "id", "tokens", "dataIndex", "dataSource", "index", "layer", "modelId", "maxValue", "maxValueTokenIndex",
    "minValue", "values", "dfaValues", "dfaTargetIndex", "dfaMaxValue", "creatorId", "createdAt", "lossValues",
    "logitContributions", "binMin", "binMax", "binContains", "qualifyingTokenIndex",
}  # fmt: skip
RELEASE_COLUMNS = {
    "name", "visibility", "isNewUi", "featured", "description", "descriptionShort", "urls", "creatorEmail",
    "creatorName", "creatorNameShort", "creatorId", "defaultSourceSetName", "defaultSourceId", "defaultUmapSourceIds",
    "createdAt",
}  # fmt: skip
MODEL_COLUMNS = {
    "id", "displayNameShort", "displayName", "creatorId", "tlensId", "dimension", "thinking", "visibility",
    "defaultSourceSetName", "defaultSourceId", "defaultGraphSourceSetName", "inferenceEnabled", "instruct", "layers",
    "neuronsPerLayer", "createdAt", "owner", "updatedAt", "website",
}  # fmt: skip
SOURCE_SET_COLUMNS = {
    "modelId", "name", "hasDashboards", "allowInferenceSearch", "visibility", "description", "type", "creatorName",
    "urls", "creatorEmail", "creatorId", "releaseName", "hasGraphs", "graphEnabled", "similarityMatrixEnabled",
    "defaultOfModelId", "defaultGraphModelId", "defaultRange", "defaultShowBreaks", "showDfa", "showCorrelated",
    "showHeadAttribution", "showUmap", "createdAt",
}  # fmt: skip
SOURCE_COLUMNS = {
    "id", "modelId", "hasDashboards", "inferenceEnabled", "saelensConfig", "saelensRelease", "saelensSaeId", "hfRepoId",
    "hfFolderId", "visibility", "defaultOfModelId", "setName", "creatorId", "hasUmap", "hasUmapLogSparsity",
    "hasUmapClusters", "num_prompts", "num_tokens_in_prompt", "dataset", "notes", "cosSimMatchModelId",
    "cosSimMatchSourceId", "createdAt",
}  # fmt: skip
DELPHI_CONFIG = {
    "dataset_repo", "dataset_split", "dataset_name", "dataset_column", "batch_size", "cache_ctx_len", "n_tokens",
    "n_splits", "model_name",
}  # fmt: skip
