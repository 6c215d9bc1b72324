"""What a statement may consist of: kinds of syntax, functions by name. What is not here is refused."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SYNTAX = _names(
    "Add Adjacent Alias Aliases All And Any AtTimeZone Between BitString BitwiseAnd BitwiseLeftShift BitwiseNot"
    " BitwiseOr BitwiseRightShift BitwiseXor Boolean Bracket ByteString CTE CharacterSet Collate Column ColumnDef Cube"
    " DPipe DataType DataTypeParam Distance Distinct Div Dot EQ Escape Except ExtendsLeft ExtendsRight Extract Fetch"
    " Filter FormatJson From FromTimeZone GT GTE Glob Group GroupingSets Having HavingMax HexString ILike Identifier"
    " IgnoreNulls In IntDiv Intersect Interval IntervalSpan Is JSON JSONExtractQuote JSONKeyValue JSONPath JSONPathKey"
    " JSONPathRecursive JSONPathRoot JSONPathSelector JSONPathSlice JSONPathSubscript JSONPathUnion JSONPathWildcard"
    " JSONValue Join Kwarg LT LTE Lambda Lateral Like Limit LimitOptions Literal Match Mod Mul NEQ National Neg Not"
    " Null NullSafeEQ NullSafeNEQ Offset OnCondition Operator Or Order Ordered Overlaps Paren Pivot"
    " PivotAlias Placeholder Pseudocolumn Qualify RawString RespectNulls Rollup Select SimilarTo Slice Star"
    " Sub Subquery Table TableAlias TableSample Tuple Union Values Var Where Window WindowSpec With WithinGroup"
)
"""Classes of the parser that are not functions."""

CHANGES = _names(
    "DefaultColumnConstraint Delete Insert Merge OnConflict Returning Schema Set SetItem Update When Whens"
)
"""Further classes of statements that change rows."""

TYPED_FUNCTIONS = _names(
    "Abs Acos Acosh AddMonths And AnyValue ApproxDistinct ApproxQuantile ApproxQuantiles ApproxTopK ArgMax ArgMin"
    " Array ArrayAgg ArrayAll ArrayAny ArrayAppend ArrayCompact ArrayConcat ArrayConcatAgg ArrayContainedBy"
    " ArrayContains ArrayContainsAll ArrayDistinct ArrayExcept ArrayFilter ArrayFirst ArrayInsert ArrayIntersect"
    " ArrayLast ArrayMax ArrayMin ArrayOverlaps ArrayPosition ArrayPrepend ArrayRemove ArrayRemoveAt ArrayReverse"
    " ArraySize ArraySlice ArraySort ArraySum ArrayToString ArrayUnionAgg ArrayUniqueAgg ArraysZip Ascii Asin Asinh"
    " Atan Atan2 Atanh Avg BitLength BitwiseAndAgg BitwiseCount BitwiseOrAgg BitwiseXorAgg Booland Boolnot Boolor"
    " ByteLength Case Cast CastToStrType Cbrt Ceil Chr Coalesce Concat ConcatWs Contains Convert ConvertTimezone Corr"
    " Cos Cosh CosineDistance Cot Coth Count CountIf CovarPop CovarSamp CumeDist CurrentDate CurrentDatetime"
    " CurrentTime CurrentTimestamp CurrentTimestampLTZ Date DateAdd DateBin DateDiff DateFromParts DateFromUnixDate"
    " DateStrToDate DateSub DateToDateStr DateTrunc Datetime DatetimeAdd DatetimeDiff DatetimeSub DatetimeTrunc Day"
    " DayOfMonth DayOfWeek DayOfWeekIso DayOfYear Dayname Decode DecodeCase Degrees DenseRank DiToDate DotProduct Elt"
    " Encode EndsWith EqualNull EuclideanDistance Exists Exp Explode ExplodingGenerateSeries Extract Factorial First"
    " FirstValue Flatten Float64 Floor Format FromBase FromBase32 FromBase64 FromISO8601Date FromISO8601Timestamp"
    " GenerateDateArray GenerateSeries GenerateTimestampArray Greatest GroupConcat Grouping GroupingId Hex Hour If"
    " Initcap Int64 IsArray IsAscii IsInf IsNan IsNullValue JSONArray JSONArrayAgg JSONArrayAppend JSONArrayContains"
    " JSONArrayInsert JSONBContains JSONBContainsAllTopKeys JSONBContainsAnyTopKeys JSONBContainsTopKey"
    " JSONBDeleteAtPath JSONBExists JSONBExtract JSONBExtractScalar JSONBObjectAgg JSONBPathExists JSONBool JSONExists"
    " JSONExtract JSONExtractArray JSONExtractScalar JSONFormat JSONKeys JSONObject JSONObjectAgg JSONRemove JSONSet"
    " JSONStripNulls JSONTable JSONType JSONValueArray JarowinklerSimilarity JustifyDays JustifyHours JustifyInterval"
    " Kurtosis Lag Last LastDay LastValue LaxBool LaxFloat64 LaxInt64 LaxString Lead Least Left Length Levenshtein Ln"
    " Localtime Localtimestamp Log LogicalAnd LogicalOr Lower LowerHex MD5 MD5Digest MakeInterval Map MapContainsKey"
    " MapKeys MapSize MatchAgainst Max Median Min Minute Mode Month Monthname MonthsBetween Negative NextDay Normalize"
    " NthValue Ntile Nullif NumberToStr Nvl2 ObjectAgg Or Overlay Pad ParseBignumeric ParseDatetime ParseJSON"
    " ParseNumeric ParseTime ParseUrl PercentRank PercentileCont PercentileDisc Pi Posexplode Pow PreviousDay Quantile"
    " Quarter Radians Rand RangeBucket Rank RegexpCount RegexpExtract RegexpExtractAll RegexpFullMatch RegexpILike"
    " RegexpInstr RegexpLike RegexpReplace RegexpSplit RegexpSubstr RegrAvgx RegrAvgy RegrCount RegrIntercept RegrR2"
    " RegrSlope RegrSxx RegrSxy RegrSyy Replace Reverse Right Rint Round RowNumber SHA SHA1Digest SHA2 SHA2Digest"
    " SafeAdd SafeDivide SafeFunc SafeMultiply SafeNegate SafeSubtract Second Sign Sin Sinh Skewness Soundex Split"
    " SplitPart Sqrt StDistance StPoint StartsWith Stddev StddevPop StddevSamp StrPosition StrToDate StrToTime"
    " StrToUnix String StringToArray StripNullValue Strtok StrtokToArray Struct StructExtract Stuff Substring"
    " SubstringIndex Sum Tan Tanh Time TimeAdd TimeDiff TimeFromParts TimeSlice TimeStrToDate TimeStrToTime"
    " TimeStrToUnix TimeSub TimeToStr TimeToTimeStr TimeToUnix TimeTrunc Timestamp TimestampAdd TimestampDiff"
    " TimestampFromParts TimestampSub TimestampTrunc ToArray ToBase64 ToBoolean ToChar ToDays ToDouble ToMap ToNumber"
    " ToVariant Transform Translate Trim Trunc Try TryCast TsOrDiToDi TsOrDsAdd TsOrDsDiff TsOrDsToDate"
    " TsOrDsToDateStr TsOrDsToDatetime TsOrDsToTime TsOrDsToTimestamp Typeof Unhex Unicode UnixDate UnixMicros"
    " UnixMillis UnixSeconds UnixToStr UnixToTime UnixToTimeStr Unnest Upper UtcDate UtcTime UtcTimestamp Uuid"
    " Variance VariancePop Week WeekOfYear WeekStart WidthBucket Xor Year YearOfWeek YearOfWeekIso"
)
"""Functions that the parser knows, by its class for them."""

NAMED_FUNCTIONS = _names(
    "age any_value approx_count_distinct approx_quantiles array_agg array_cat array_construct array_dims array_length"
    " array_lower array_ndims array_positions array_replace array_to_json array_upper arrayagg ascii bit_and bit_count"
    " bit_or bool_and bool_or btrim cardinality ceiling changes char char_length character_length charindex choose"
    " clock_timestamp coalesce concat concat_ws convert corr cosd cotd count_big countif covar_pop covar_samp"
    " cume_dist curdate curtime date date_add date_bin date_diff date_format date_part date_sub date_trunc dateadd"
    " datediff datefromparts datename datepart datetime day dayname dayofmonth dayofweek dayofyear decode div div0 elt"
    " encode every extract field find_in_set first_value floor format format_date format_timestamp formatmessage gcd"
    " generate_series generate_subscripts get_byte getdate getutcdate group_concat grouping hex hll_count hour hypot"
    " ieee_divide if iff ifnull iif ilike inet6_aton initcap insert instr interval is_nan isdate isdistinct isfinite"
    " isjson isnull isnumeric iso_week json json_agg json_array json_array_elements json_array_elements_text"
    " json_array_length json_build_array json_build_object json_contains json_depth json_each json_each_text"
    " json_extract json_extract_path json_extract_path_text json_extract_scalar json_group_array json_group_object"
    " json_length json_merge_patch json_object json_object_agg json_object_keys json_overlaps json_pretty json_quote"
    " json_search json_tree json_type json_typeof json_unquote json_valid json_value jsonb_agg jsonb_array_elements"
    " jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text"
    " jsonb_extract_path jsonb_extract_path_text jsonb_object_agg jsonb_object_keys jsonb_path_query"
    " jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof julianday"
    " justify_days justify_hours justify_interval lag last_day last_value lcase lcm lead left len length levenshtein"
    " likelihood locate log10 log2 logical_and logical_or lower lpad ltrim make_date make_time make_timestamp"
    " make_timestamptz makedate maketime max_by median microsecond mid min_by minute mod mode month monthname nchar"
    " now nth_value ntile nullif nullifzero num_nonnulls num_nulls numeric nvl nvl2 object_construct object_keys oct"
    " octet_length ord parse_json parsename patindex percent_rank percentile_cont percentile_disc period_add"
    " period_diff phraseto_tsquery plainto_tsquery position pow printf quarter quote quote_ident quote_literal"
    " quotename rand random rank regexp_count regexp_like regexp_match regexp_matches regexp_split_to_array"
    " regexp_split_to_table regexp_substr regr_intercept regr_r2 regr_slope replace reverse right round row row_number"
    " row_to_json rpad rtrim safe_cast safe_divide scale sec_to_time second sign similarity sind soundex sqrt st_area"
    " st_asgeojson st_astext st_buffer st_centroid st_contains st_distance st_dwithin st_geogpoint st_intersects"
    " st_length st_makepoint st_setsrid st_transform st_within st_x st_y starts_with statement_timestamp stddev"
    " stddev_pop stddev_samp str_to_date strcmp strftime string_agg string_split string_to_table strpos struct_pack"
    " substr substring substring_index sum sysdatetime sysdatetimeoffset sysutcdatetime tand time time_format"
    " time_to_sec timediff timeofday timestamp timestamp_trunc timestampdiff timezone to_char to_date to_days to_json"
    " to_jsonb to_number to_timestamp to_tsquery to_tsvector total transaction_timestamp translate trim trim_scale"
    " trunc truncate try_convert try_parse ts_headline ts_rank ts_rank_cd tsvector typeof ucase unaccent unicode"
    " unistr unixepoch upper utc_date var_pop var_samp variance websearch_to_tsquery week weekday weekofyear"
    " width_bucket word_similarity year yearweek zeroifnull"
)
"""Functions that the parser has no class for, by name."""

SYSTEM_SCHEMAS = _names(
    "account_usage dba_users dbstat information_schema master model msdb mysql ndbinfo organization_usage"
    " performance_schema pg_catalog pg_temp pg_toast snowflake sqlite_master sqlite_schema sqlite_temp_master"
    " sqlite_temp_schema sys syscolumns sysconfigures sysdatabases syslogins sysobjects sysprocesses sysusers"
    " sysxlogins tempdb"
)
SYSTEM_PREFIXES = (
    "pg_",
    "sqlite_",
    "_pg_",
    "information_schema",
    "__tables",
    "region-",
    "innodb_",
    "svv_",
    "stl_",
    "stv_",
)
DEFAULT_SCHEMAS = {"postgres": "public", "sqlite": "main", "tsql": "dbo", "snowflake": "public"}

RESERVED = _names(
    "alter analyze attach backup begin bulk call checkpoint commit copy create dbcc declare delete deny detach do"
    " drop dumpfile except exec execute explain from goto grant handler having insert intersect into kill listen merge"
    " notify opendatasource openquery openrowset outfile pragma prepare procedure raiserror readtext reconfigure"
    " reindex restore revoke rollback savepoint select shutdown table truncate union update updatetext vacuum waitfor"
    " where writetext"
)
"""Words that no database reads as an unquoted name here: a parser that does has misread the statement."""

CALLS_WITHOUT_BRACKETS = _names(
    "current_catalog current_database current_role current_schema current_user session_user system_user"
)
"""Names that some server reads as a call which tells of itself, where a parser sees a column."""

USER_IS_A_CALL = frozenset(("postgres", "tsql"))
"""Dialects in which `user` is one more; elsewhere it is a column like others."""
